"""Files are written completely or not at all, and never over an input."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.commands import main
from mimicam.engine.commands.live import make_sinks
from mimicam.engine.errors import EngineError
from mimicam.engine.files import (
    Aside,
    files_below,
    is_same,
    refuse_to_overwrite_inputs,
    sha256_of,
    write_atomically,
)
from mimicam.engine.provenance import Provenance
from mimicam.engine.sinks.video_writer import VideoWriter
from tests.videos import grey, levels, write_video

LONGEST = 255
"""Length limit of a name on ext4, APFS and NTFS, bytes."""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with write_atomically(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert _names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("failure", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_failure_keeps_the_older_file_and_nothing_else(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(type(failure)), write_atomically(path) as part:  # noqa: PT012
        part.write_text("half")
        raise failure
    assert (path.read_text(), _names(tmp_path)) == ("old", ["a.json"])


def test_a_folder_in_the_way_or_a_missing_one_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "nowhere" / "a", tmp_path / ("x" * (LONGEST + 1))):
        with (
            pytest.raises(EngineError, match=r"cannot be written \(.*\): check space"),
            write_atomically(path) as part,
        ):
            part.write_text("")
    assert _names(tmp_path) == ["folder"]


def test_temporary_names_are_unique_and_short(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + "x.mp4")
    assert len(os.fsencode(path.name)) == LONGEST
    first, second = Aside(path), Aside(path)
    assert first.part != second.part
    first.part.write_text("1")
    first.commit()
    second.discard()
    assert _names(tmp_path) == [path.name]


def test_a_hanging_threads_file_is_removed_at_exit(tmp_path: Path) -> None:
    code = (
        "import sys, threading\nfrom pathlib import Path\nfrom mimicam.engine.files import write_atomically\n"
        "started = threading.Event()\n"
        "def hang():\n"
        "    with write_atomically(Path(sys.argv[1])) as part:\n"
        "        part.write_text('half'); started.set(); threading.Event().wait()\n"
        "threading.Thread(target=hang, daemon=True).start(); started.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=True, timeout=60)
    assert _names(tmp_path) == []


def test_two_programs_with_one_output_both_write_a_whole_video(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 251 + ".mp4")
    first, second = (VideoWriter(out, size=(64, 48), fps=25) for _ in range(2))
    for number in range(3):
        first.write(grey(60), number / 25)
        second.write(grey(180), number / 25)
    first.finish()
    with pytest.raises(EngineError, match="another program wrote") as refusal:
        second.finish()
    other = next(path for path in tmp_path.iterdir() if path != out)
    assert str(other) in str(refusal.value)
    assert levels(out) == pytest.approx([60] * 3, abs=3)
    assert levels(other) == pytest.approx([180] * 3, abs=3)


def test_an_older_video_of_that_name_is_replaced(tmp_path: Path) -> None:
    out = write_video(tmp_path / "a.mp4", [grey(10)])
    writer = VideoWriter(out, size=(64, 48), fps=25)
    writer.write(grey(180), 0.0)
    writer.finish()
    assert levels(out) == pytest.approx([180], abs=3)
    assert _names(tmp_path) == ["a.mp4"]


Spelling = Callable[[Path], Path]


def _through_a_symlink(path: Path) -> Path:
    link = path.with_name(f"link{path.suffix}")
    link.symlink_to(path)
    return link


def _through_a_linked_folder(path: Path) -> Path:
    folder = path.parent.with_name(f"{path.parent.name}-linked")
    folder.symlink_to(path.parent, target_is_directory=True)
    return folder / path.name


def _through_a_hard_link(path: Path) -> Path:
    link = path.with_name(f"hard{path.suffix}")
    os.link(path, link)
    return link


SPELLINGS: list[Spelling] = [
    lambda path: path,
    lambda path: path.parent / "." / ".." / path.parent.name / path.name,
    lambda path: Path(os.path.relpath(path)),
    *(
        []
        if sys.platform == "win32"
        else [_through_a_symlink, _through_a_linked_folder, _through_a_hard_link]
    ),
]
spelled = pytest.mark.parametrize(
    "spelling",
    SPELLINGS,
    ids=["itself", "dots", "relative", "symlink", "linked-folder", "hard-link"][: len(SPELLINGS)],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "inner"
    inner.mkdir()
    return inner


def _portrait(path: Path) -> Path:
    image = cv2.imread(str(bundled_portraits()[0]))
    cv2.imwrite(str(path), image)
    return path


def _refused_and_unchanged(
    inputs: list[Path], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = [sha256_of(path) for path in inputs]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "which is read: choose another name" in error
    assert len(error.strip().splitlines()) == 1
    assert [sha256_of(path) for path in inputs] == before


@spelled
def test_run_refuses_to_record_over_its_source(
    folder: Path, spelling: Spelling, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(folder / "talk.mp4", [grey(90)] * 5)
    arguments = ["run", "--source", str(video), "--sink", f"file:{spelling(video)}"]
    _refused_and_unchanged([video], arguments, capsys)


@spelled
def test_render_refuses_to_write_over_either_input(
    folder: Path, spelling: Spelling, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait, driving = _portrait(folder / "me.png"), _portrait(folder / "other.png")
    out = spelling(portrait)
    _refused_and_unchanged([portrait], ["render", str(portrait), str(driving), "-o", str(out)], capsys)
    _refused_and_unchanged([portrait], ["render", str(driving), str(portrait), "-o", str(out)], capsys)


def test_enrolled_folders_are_inputs_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    me = folder / "me"
    assert main(["enroll", str(_portrait(folder / "me.png")), "-o", str(me)]) == 0
    picture = me / "picture.png"
    driving = str(folder / "me.png")
    _refused_and_unchanged([picture], ["render", str(me), driving, "-o", str(picture)], capsys)
    _refused_and_unchanged([picture], ["enroll", str(picture), "-o", str(me)], capsys)


def test_two_sinks_do_not_share_a_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "." / "b" / ".." / "a.mp4"
    with pytest.raises(EngineError, match="are one file: give them different names"):
        make_sinks([f"file:{first}", f"file:{second}"], on_key=lambda _: None, figures=list, marks=Provenance)


def test_a_folder_stands_for_its_files_without_subfolders(folder: Path) -> None:
    (folder / "clip.mp4").touch()
    (folder / "pack").mkdir()
    (folder / "pack" / "frames.npy").touch()
    refuse_to_overwrite_inputs([folder / "pack" / "frames.npy", folder / "new.mp4"], [folder])
    with pytest.raises(EngineError, match=r"the result would replace .*clip.mp4"):
        refuse_to_overwrite_inputs([folder / "clip.mp4"], [folder])
    assert not is_same(folder / "a", folder / "b"), "two names that are both new"


def test_bundle_and_evaluation_do_not_replace_their_inputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="bundles are made from checkpoints")
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"trained for a week")
    _refused_and_unchanged(
        [weights], ["models", "bundle", "--weights", str(weights), "--out", str(folder)], capsys
    )
    pack = folder / "pack"
    pack.mkdir()
    for name in ("frames.npy", "track.npz", "segments.json"):
        (pack / name).write_bytes(b"tracked for a day")
    arguments = ["evaluate", "--pack", str(pack), "--json", str(pack / "segments.json")]
    _refused_and_unchanged([pack / "segments.json"], arguments, capsys)
    arguments = ["data", "pack", "--folder", str(pack), "--out", str(pack)]
    _refused_and_unchanged([pack / "frames.npy"], arguments, capsys)


def test_a_remote_training_pack_removes_only_its_own_files(folder: Path) -> None:
    pytest.importorskip("torch", reason="weights are PyTorch's")
    from scripts.remote_training.pack import PackOptions, write_folder

    (folder / "checkpoint.pt").write_bytes(b"trained for a week")
    with pytest.raises(EngineError, match=r"would replace .*checkpoint.pt"):
        write_folder(PackOptions(packs=(folder / "pack",), out=folder, weights=folder / "checkpoint.pt"))
    with pytest.raises(EngineError, match=r"checkpoint.pt, which this command did not write"):
        write_folder(PackOptions(packs=(folder / "pack",), out=folder))
    assert _names(folder) == ["checkpoint.pt"]


def test_parallel_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path, both = tmp_path / "a.txt", threading.Barrier(2)

    def write(text: str) -> None:
        with write_atomically(path) as part:
            part.write_text(text)
            both.wait(30)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert _names(tmp_path) == ["a.txt"]


def test_files_that_are_gone_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/c/2", "a", "b/1"):
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert files_below(tmp_path) == [tmp_path / name for name in ("a", "b/1", "b/c/2")]
    assert files_below(tmp_path / "nowhere") == []


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-4, example
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
