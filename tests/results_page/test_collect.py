"""Which results a folder holds, and what they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.results_page import collect as module
from mimicam.engine.results_page.collect import collect
from tests.results_page.material import job, write_h264, write_record
from tests.videos import grey, write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


def test_a_batch_is_read_from_its_record(folder: Path) -> None:
    source, driver = write_h264(folder / "a.mp4"), write_h264(folder / "b.mp4", level=20)
    out = write_h264(folder / "out.mp4", comes_from=(source, driver))
    write_record(
        folder,
        job(1, source=str(source), driver=str(driver), out=str(out)),
        job(2, source="gone.mp4", out="never.mp4", state="failed", error="there is no file\ngone.mp4"),
        job(3, source=str(source), out="later.mp4", state="running"),
    )
    done, failed, running = collect(folder)
    assert (done.source, done.drivers, done.notes) == (source, (driver,), ())
    assert [done.figures[name] for name in ("frames", "changed", "without_face", "seconds")] == [3, 2, 1, 1.5]
    assert done.figures["duration_s"] == pytest.approx(0.3, abs=0.05)
    assert (failed.path.name, failed.error) == ("never.mp4", "there is no file gone.mp4")
    assert (running.state, "frames" in running.figures) == ("running", False)


def test_a_single_result_finds_what_it_comes_from_by_content(folder: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "elsewhere" / "deep"
    inputs.mkdir(parents=True)
    source, driver = write_h264(folder / "talk.mp4"), write_h264(inputs / "renamed later.mp4", level=20)
    out = write_h264(folder / "out.mp4", level=30, comes_from=(source, driver))
    (found,) = collect(folder, [tmp_path / "elsewhere"])
    assert (found.path, found.source, found.drivers, found.notes) == (out, source, (driver,), ())
    (found,) = collect(folder)
    assert found.drivers == ()
    assert found.notes == ("the driver is not in this folder: name its folder with --inputs",)


def test_covered_frames_are_read_from_a_record(folder: Path) -> None:
    write_record(
        folder,
        job(1, out="a.mp4", covered={"mouth": 7}, driver_covered={"eyes": 3}),
        job(2, out="b.mp4", covered={}, driver_covered=None),
        job(3, out="c.mp4", covered=None, driver_covered=None),
        job(4, out="d.mp4"),
    )
    both, free, *unknown = (each.figures for each in collect(folder))
    names = ("mouth_covered", "eyes_covered", "driver_mouth_covered", "driver_eyes_covered")
    assert [both[name] for name in names] == [7, 0, 0, 3]
    assert [free.get(name) for name in names] == [0, 0, None, None], "nothing covered, and no driver"
    assert not any(name in figures for figures in unknown for name in names)


def test_covered_frames_are_read_from_marks(folder: Path) -> None:
    source = write_h264(folder / "talk.mp4")
    write_h264(folder / "out.mp4", level=30, comes_from=(source,), covered={"eyes": 2})
    write_h264(folder / "same.mp4", level=40, comes_from=(source,))
    counted, unknown = (each.figures for each in collect(folder))
    assert (counted["mouth_covered"], counted["eyes_covered"]) == (0, 2)
    assert "driver_eyes_covered" not in counted
    assert "eyes_covered" not in unknown


def test_files_that_nothing_marks_are_no_results(folder: Path) -> None:
    source = write_h264(folder / "a.mp4")
    write_video(folder / "holiday.mp4", [grey(3)])
    (folder / "broken.mp4").write_bytes(b"no video")
    hidden = folder / "jobs.segments"
    hidden.mkdir()
    write_h264(hidden / "part.mp4", comes_from=(source,))
    write_h264(folder / ".hidden.mp4", comes_from=(source,))
    assert [each.path.name for each in collect(_with_result(folder, source))] == ["out.mp4"]


def _with_result(folder: Path, source: Path) -> Path:
    write_h264(folder / "out.mp4", comes_from=(source,))
    return folder


def test_each_file_is_hashed_once_and_only_until_all_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_h264(folder / "a.mp4")
    for name in ("b.mp4", "c.mp4"):
        write_h264(folder / name, comes_from=(source,))
    write_h264(folder / "z.mp4", level=5)
    hashed = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(module, "sha256_of", counting)
    assert [each.source for each in collect(folder)] == [source, source]
    assert hashed == ["a.mp4"]


def test_what_is_gone_is_said(folder: Path) -> None:
    write_record(folder, job(1, source="a.mp4", out="b.mp4"))
    (found,) = collect(folder)
    assert found.notes == ("the source a.mp4 is gone", "the result is gone: run the batch again")


@pytest.mark.parametrize(
    "text",
    [
        '[{"state": "done", "out": "a", "job": 1, "covered": {"mouth": "x"}}]',
        "{", "[1]", '[{"state": 3}]', '[{"state": "done", "out": "a\\u0000b"}]', "{}[", "7",
    ],
)  # fmt: skip
def test_a_damaged_record_is_one_line(folder: Path, text: str) -> None:
    (folder / "jobs.results.json").write_text(text)
    with pytest.raises(EngineError, match="is no record of a batch") as caught:
        collect(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_results_is_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="holds no results of mimicam"):
        collect(folder)
    with pytest.raises(EngineError, match="there is no folder"):
        collect(folder, [folder / "nowhere"])
