"""Whole videos: what is kept, by time, whatever the source is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import mimicam
from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.badge import corner_badge
from mimicam.engine.controls import EditSettings, Mode, MotionReference
from mimicam.engine.editing.channels import Changes
from mimicam.engine.editing.driver import DriverLength
from mimicam.engine.editing.native import NativeFrame
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.video import edit_video, iter_edit_video
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models.base import Model
from mimicam.engine.models.load import load_model
from mimicam.engine.sinks.video_writer import Look, VideoWriter
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Image
from mimicam.engine.verify import read_marks
from tests.pipeline.fake_model import FakeModel
from tests.videos import grey, write_video

CLIP = ASSETS / "demo" / "driver.mp4"
SMILE = Plan(changes=Changes(presets={"smile": 1.0}))
FRAMES = 8


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("compact", "openvino")


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    return [timed.image for timed in islice(VideoFile(CLIP), FRAMES)]


@pytest.fixture
def source(tmp_path: Path, pictures: list[Image]) -> Path:
    return write_video(tmp_path / "source.mp4", pictures, fps=25, sound=True)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """Collect the planes of each frame as they go to the encoder."""
    planes: list[list[np.ndarray]] = []
    finish = NativeFrame.finish

    def keep(frame: NativeFrame) -> Any:
        out = finish(frame)
        planes.append(
            [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width].copy() for p in out.planes]
        )
        return out

    monkeypatch.setattr(NativeFrame, "finish", keep)
    return planes


def planes_of(path: Path) -> Iterator[list[np.ndarray]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]


def times_of(path: Path) -> list[float]:
    return [timed.time_s for timed in VideoFile(path)]


def sound_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0))


def test_a_smile_changes_the_face_and_nothing_else(
    source: Path, tmp_path: Path, model: Model, written: list[list[np.ndarray]]
) -> None:
    done = edit_video(source, tmp_path / "out.mp4", model=model, plan=SMILE)
    assert (done.frames, done.changed, done.without_face) == (FRAMES, FRAMES, 0)
    for before, after in zip(planes_of(source), written, strict=True):
        changed = np.argwhere(before[0] != after[0])
        (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
        assert len(changed) > 500
        assert left > 300, "the wall left of her is kept bit for bit"
        assert right < 560
        assert top > 80, "so is what is above her brows"
        assert bottom <= 360


def test_a_badge_covers_its_corner_and_nothing_else(
    source: Path, tmp_path: Path, written: list[list[np.ndarray]]
) -> None:
    badge = corner_badge("top-left")
    assert badge is not None
    edit_video(source, tmp_path / "out.mp4", model=FakeModel(), badge=badge)
    rows, columns = badge.window(grey(0, (640, 360)))
    for before, after in zip(planes_of(source), written, strict=True):
        changed = np.argwhere(before[0] != after[0])
        assert len(changed) > 200
        assert changed.min(axis=0).tolist() >= [rows.start & ~1, columns.start & ~1]
        assert (changed.max(axis=0) < (rows.stop + 1, columns.stop + 1)).all()
    marks = read_marks(tmp_path / "out.mp4")
    assert marks is not None
    assert (marks.source, marks.drivers, marks.model) == (sha256_of(source), (), FakeModel().sha256)


def test_an_edit_without_changes_gives_the_source_s_own_samples(
    source: Path, tmp_path: Path, model: Model, written: list[list[np.ndarray]]
) -> None:
    done = edit_video(source, tmp_path / "out.mp4", model=model)
    assert done.changed == 0
    for before, after in zip(planes_of(source), written, strict=True):
        for kept, plane in zip(before, after, strict=True):
            np.testing.assert_array_equal(plane, kept)


def test_sound_and_times_are_the_source_s(tmp_path: Path, pictures: list[Image]) -> None:
    uneven = [0.0, 0.04, 0.1, 0.12, 0.3, 0.31, 0.5, 0.54]
    source = write_video(tmp_path / "source.mp4", pictures, times_s=uneven, sound=True)
    edit_video(source, tmp_path / "out.mp4", model=FakeModel(), plan=SMILE)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(uneven, abs=1e-3)
    assert sound_of(tmp_path / "out.mp4") == sound_of(source)


@pytest.mark.parametrize("fps", [12, 50])
def test_a_driver_of_another_rate_is_followed_by_time(
    fps: int, source: Path, tmp_path: Path, pictures: list[Image]
) -> None:
    driver = write_video(tmp_path / "driver.mp4", pictures[:4], fps=fps)
    done = edit_video(source, tmp_path / "out.mp4", model=FakeModel(), driver=driver)
    assert done.frames == FRAMES
    assert times_of(tmp_path / "out.mp4") == pytest.approx(times_of(source), abs=1e-3)


def test_trim_ends_picture_and_sound_with_the_driver(
    source: Path, tmp_path: Path, pictures: list[Image]
) -> None:
    driver = write_video(tmp_path / "driver.mp4", pictures[:4], fps=25)
    out = tmp_path / "out.mp4"
    done = edit_video(source, out, model=FakeModel(), driver=driver, driver_length=DriverLength.TRIM)
    assert done.frames == 4
    assert 0 < len(sound_of(out)) < len(sound_of(source))


def test_a_picture_drives_too(source: Path, tmp_path: Path) -> None:
    picture = next((ASSETS / "portraits").glob("*.*"))
    done = edit_video(source, tmp_path / "out.mp4", model=FakeModel(), driver=picture)
    assert done.changed == FRAMES


def test_only_the_range_is_edited(source: Path, tmp_path: Path) -> None:
    plan = Plan(changes=Changes(presets={"smile": 1.0}), start_s=0.1, end_s=0.2)
    done = edit_video(source, tmp_path / "out.mp4", model=FakeModel(), plan=plan)
    assert done.changed == 2, "the frames at 0.12 and 0.16 s"


def test_pixels_keep_their_shape_and_colours_their_matrix(tmp_path: Path, pictures: list[Image]) -> None:
    source = tmp_path / "source.mp4"
    look = Look(sample_aspect=Fraction(4, 3), colorspace=1, color_range=1, primaries=1, transfer=1)
    writer = VideoWriter(source, size=(640, 360), fps=25, look=look)
    for index, image in enumerate(pictures[:2]):
        writer.write(image, index / 25)
    writer.finish()
    edit_video(source, tmp_path / "out.mp4", model=FakeModel(), plan=SMILE)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        assert (frame.colorspace, frame.color_range, frame.color_primaries) == (1, 1, 1)


def test_frames_without_the_face_are_kept_and_counted(tmp_path: Path, pictures: list[Image]) -> None:
    images = [*pictures[:4], *[grey(90, (640, 360))] * 4]
    source = write_video(tmp_path / "source.mp4", images)
    done = edit_video(source, tmp_path / "out.mp4", model=FakeModel(), plan=SMILE)
    assert done.without_face == 4
    assert 0 < done.changed <= 4


def test_a_video_without_a_face_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", [grey(90)] * 3)
    with pytest.raises(EngineError, match=r"source.mp4 shows no face"):
        edit_video(source, tmp_path / "out.mp4", model=FakeModel(), plan=SMILE)
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]


def test_an_interruption_leaves_no_half_file(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    with iter_edit_video(source, out, model=FakeModel(), plan=SMILE) as steps:
        written = [each.done for each in takewhile(lambda each: (each.step, each.done) != ("edit", 3), steps)]
        assert written[FRAMES:] == [1, 2]
    assert out.read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"source.mp4", "out.mp4"}


@pytest.mark.parametrize("mode", [Mode.POSE, Mode.BOTH])
def test_a_mode_that_moves_the_head_is_refused(mode: Mode, source: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"mode {mode.value} moves the head, which cannot be pasted back"):
        edit_video(source, tmp_path / "out.mp4", model=FakeModel(), edit=EditSettings(mode=mode))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_crop_may_move_the_head(mode: Mode, source: Path, tmp_path: Path) -> None:
    driver, out = next((ASSETS / "portraits").glob("*.*")), tmp_path / "out.mp4"
    edit = EditSettings(mode=mode, pose_motion=MotionReference.ABSOLUTE)
    model = FakeModel()
    done = edit_video(source, out, model=model, driver=driver, edit=edit, crop_px=96)
    assert done.changed == FRAMES
    assert next(iter(VideoFile(out))).image.shape == (96, 96, 3)
    assert times_of(out) == pytest.approx(times_of(source), abs=1e-3)
    drawn = model.conditionings[0]
    pose_moved = not np.allclose(drawn["pose"][0], drawn["pose"][1])
    expression_moved = not np.allclose(drawn["expression"][0], drawn["expression"][1])
    assert (expression_moved, pose_moved) == (mode is not Mode.POSE, mode is not Mode.EXP)


def test_a_crop_goes_on_where_the_face_is_lost(tmp_path: Path, pictures: list[Image]) -> None:
    source = write_video(tmp_path / "source.mp4", [*pictures[:3], grey(90, (640, 360))])
    done = edit_video(source, tmp_path / "out.mp4", model=FakeModel(), crop_px=96)
    assert (done.frames, done.changed, done.without_face) == (4, 3, 1)


@pytest.mark.parametrize("side_px", [0, 97, 5000])
def test_a_crop_of_an_impossible_side_is_refused(side_px: int, source: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--crop must be even and 64 to 2048 pixels"):
        edit_video(source, tmp_path / "out.mp4", model=FakeModel(), crop_px=side_px)


def test_inputs_are_never_overwritten(source: Path, tmp_path: Path) -> None:
    driver = write_video(tmp_path / "driver.mp4", [grey(90)] * 2)
    for out in (source, driver):
        with pytest.raises(EngineError, match="which is read: choose another name"):
            edit_video(source, out, model=FakeModel(), driver=driver)


def test_a_picture_as_source_is_sent_to_render(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"me\.png is a picture: 'mimicam render me.png DRIVER'"):
        edit_video(tmp_path / "me.png", tmp_path / "out.mp4", model=FakeModel())


def test_the_python_api_has_it() -> None:
    assert mimicam.edit_video is edit_video
    assert mimicam.iter_edit_video is iter_edit_video
    assert mimicam.Plan is Plan
