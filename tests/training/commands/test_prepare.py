"""From a full video to clips with one face in one fixed box, and on to a pack."""

from __future__ import annotations

import csv
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import Image
from mimicam.training.commands.data.pack import Pack
from mimicam.training.commands.data.prepare import Prepare
from mimicam.training.data.prepare import PrepareOptions, Preparer, prepare_all, resampled
from tests.videos import grey, write_video

DEMO = Path(__file__).parents[3] / "engine" / "assets" / "demo" / "driver.mp4"


def _demo(first: int, count: int) -> list[Image]:
    with av.open(str(DEMO)) as container:
        frames = [
            f.to_ndarray(format="rgb24") for n, f in enumerate(container.decode(video=0)) if n < first + count
        ]
    return frames[first:]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a face, one without, 1.5 s of the face seen from elsewhere; and a file that is no video."""
    root = tmp_path_factory.mktemp("full")
    face = _demo(0, 50)
    moved = [np.ascontiguousarray(np.roll(image, 120, axis=1)) for image in face[:38]]
    (root / "videos" / "anna").mkdir(parents=True)
    blank = [grey(90, (640, 360))] * 10
    write_video(root / "videos" / "anna" / "talk.mp4", face + blank + moved)
    (root / "videos" / "broken.mp4").write_bytes(b"not a video")
    command = Prepare(videos=root / "videos", out=root / "out", min_s=1.0, size_px=128)
    assert command.run() == 1, "the broken video must show in the exit code"
    return root


def _index(root: Path) -> list[dict[str, str]]:
    with (root / "out" / "clips.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_lost_face_ends_a_clip_and_the_next_one_begins(prepared: Path) -> None:
    rows = _index(prepared)
    assert [r["identity"] for r in rows] == ["anna", "anna"]
    assert float(rows[0]["start_s"]) == 0.0
    assert 1.8 <= float(rows[0]["seconds"]) <= 2.04
    assert abs(float(rows[1]["start_s"]) - 2.4) < 0.2
    assert 1.2 <= float(rows[1]["seconds"]) <= 1.6
    assert all(float(r["yaw_range_deg"]) >= 0 for r in rows)


def test_clips_are_h264_square_at_25_fps_and_show_the_face(prepared: Path) -> None:
    tracker = FaceTracker()
    for row in _index(prepared):
        with av.open(str(prepared / "out" / row["file"])) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 128, 128)
            assert stream.average_rate == Fraction(25)
            images = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert len(images) == round(float(row["seconds"]) * 25)
        tracker.reset()
        face = tracker(images[len(images) // 2])
        assert face is not None
        side = np.ptp(face.landmarks[:, :2], axis=0).max() / 128
        assert 0.4 < side < 0.85, "the face takes about half of the box; the demo is a close-up"


def test_the_box_does_not_move_within_a_clip(prepared: Path) -> None:
    """The demo's background stands still, so the clip's corner must too."""
    with av.open(str(prepared / "out" / _index(prepared)[0]["file"])) as container:
        corners = [f.to_ndarray(format="gray")[:12, :12].astype(float) for f in container.decode(video=0)]
    assert np.abs(corners[0] - corners[-1]).mean() < 6


def test_a_second_run_skips_finished_videos_only(prepared: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (prepared / "out").rglob("*.mp4")}
    said: list[str] = []
    options = PrepareOptions(min_s=1.0, size_px=128)
    preparer = Preparer(videos=prepared / "videos", out=prepared / "out", options=options)
    done = prepare_all(preparer, [Path("anna/talk.mp4"), Path("broken.mp4")], said.append, lambda: None)
    assert done == (0, 1)
    assert len(said) == 1
    assert "broken.mp4" in said[0]
    assert "\n" not in said[0]
    assert {p: p.stat().st_mtime_ns for p in (prepared / "out").rglob("*.mp4")} == before


def test_an_interrupted_video_leaves_no_clip_and_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "ben.mp4", _demo(0, 30))
    preparer = Preparer(
        videos=tmp_path / "videos", out=tmp_path / "out", options=PrepareOptions(min_s=1.0, size_px=128)
    )
    calls = 0

    def stop(*_: object) -> Image:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise KeyboardInterrupt
        return np.zeros((128, 128, 3), np.uint8)

    monkeypatch.setattr("mimicam.training.data.prepare.cut", stop)
    with pytest.raises(KeyboardInterrupt):
        preparer(Path("ben.mp4"))
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []
    assert not preparer.is_done(Path("ben.mp4"))


@pytest.mark.parametrize(("rate", "count"), [(50, 50), (25, 25), (12, 12)])
def test_pictures_come_at_the_rate_that_was_asked_for(tmp_path: Path, rate: int, count: int) -> None:
    path = write_video(tmp_path / "v.mp4", [grey(4 * n) for n in range(count)], fps=rate)
    images = list(resampled(path, 25.0))
    assert abs(len(images) - 25) <= 1
    levels = [int(image.mean()) for image in images]
    assert levels == sorted(levels)
    assert levels[-1] > 3.5 * (count - 2)


def test_the_index_and_the_bare_folder_pack_to_the_same_people(prepared: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(prepared / "out", clips, ignore=shutil.ignore_patterns(".done", "*.csv"))
    Pack(folder=clips, out=tmp_path / "pack", size=64, every=10).run()
    by_index = Pack(folder=prepared / "out", index=prepared / "out" / "clips.csv", out=tmp_path / "x")
    assert {s.file for s in by_index.segments()} == {
        s.file for s in Pack(folder=clips, out=tmp_path).segments()
    }
    segments = json.loads((tmp_path / "pack" / "segments.json").read_text())
    assert {s["identity"] for s in segments} == {"anna"}
    assert len(np.load(tmp_path / "pack" / "frames.npy")) >= 8


def test_a_folder_without_videos_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no video"):
        Prepare(videos=tmp_path, out=tmp_path / "out").run()
