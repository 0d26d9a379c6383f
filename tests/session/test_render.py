"""Offline rendering: every frame, sound kept, nothing half-written."""

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.badge import corner_badge
from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.errors import EngineError
from mimicam.engine.provenance import ANIMATED, this_program
from mimicam.engine.render import (
    Rendered,
    check_names,
    render_picture,
    render_video,
    study_video,
    write_picture,
)
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Frame
from mimicam.engine.verify import read_marks
from tests.videos import grey, levels, write_video


class Brighter:
    """Adds 30 to every pixel; calls ``at`` with the number of each frame."""

    def __init__(
        self, fail_at: int | None = None, error: type[BaseException] | BaseException = KeyboardInterrupt
    ) -> None:
        self._fail_at, self._error = fail_at, error
        self.times_ns: list[int] = []

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, seen: Frame) -> Frame:
        if seen.seq == self._fail_at:
            raise self._error
        self.times_ns.append(seen.captured_ns)
        return replace(seen, image=seen.image + np.uint8(30))


class Blind(Brighter):
    """Fails when it observes a frame."""

    def observe(self, frame: Frame) -> Frame:
        if frame.seq == self._fail_at:
            raise self._error
        return frame

    def draw(self, seen: Frame) -> Frame:
        return seen


def _render(driving: Path, out: Path, pipeline: Brighter) -> Rendered:
    return Steps(render_video(VideoFile(driving), pipeline, out, size=(64, 48))).result()


def test_every_frame_in_is_one_frame_out_at_its_own_time(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.3, 0.31, 0.9]
    driving = write_video(tmp_path / "a.mp4", [grey(i * 30) for i in range(5)], times_s=times_s)
    pipeline = Brighter()
    assert _render(driving, tmp_path / "out.mp4", pipeline) == Rendered(frames=5, without_face=0)
    assert levels(tmp_path / "out.mp4") == pytest.approx([30, 60, 90, 120, 150], abs=4)
    with av.open(str(tmp_path / "out.mp4")) as container:
        written_s = [float(f.time) for f in container.decode(video=0) if f.time is not None]
    assert written_s == pytest.approx(times_s, abs=0.002)
    assert np.array(pipeline.times_ns) / 1e9 == pytest.approx(times_s, abs=0.002)


def test_the_sound_is_kept_as_it_is(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(90)] * 50, fps=25, sound=True)
    _render(driving, tmp_path / "out.mp4", Brighter())
    assert _sound(tmp_path / "out.mp4") == _sound(driving)


def test_a_video_without_sound_stays_silent(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(90)] * 3)
    _render(driving, tmp_path / "out.mp4", Brighter())
    assert _sound(tmp_path / "out.mp4") == b""


def test_an_interrupted_run_keeps_the_older_file(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(20)])
    (tmp_path / "out.mp4").write_bytes(b"the older one")
    with pytest.raises(KeyboardInterrupt):
        _render(driving, tmp_path / "out.mp4", Brighter(fail_at=12))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"the older one"


def test_an_error_while_observing_ends_the_run_without_a_file(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(20)])
    with pytest.raises(EngineError, match="the tracker broke"):
        _render(driving, tmp_path / "out.mp4", Blind(12, EngineError("the tracker broke; reinstall")))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_without_any_face_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(3)])
    with pytest.raises(EngineError, match=r"a\.mp4 shows no face in any of its 3 frames; choose another"):
        list(
            render_video(
                VideoFile(driving), Brighter(), tmp_path / "o.mp4", size=(64, 48), followed=lambda: False
            )
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_without_a_face_are_counted(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(4)])
    faces = iter([True, False, False, True])
    steps = render_video(
        VideoFile(driving), Brighter(), tmp_path / "o.mp4", size=(64, 48), followed=lambda: next(faces)
    )
    assert Steps(steps).result() == Rendered(frames=4, without_face=2)


def test_a_driving_picture_without_face_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the driving picture shows no face"):
        render_picture(grey(70), Brighter(), tmp_path / "out.png", followed=lambda: False)
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(4)])
    seen = list(render_video(VideoFile(driving), Brighter(), tmp_path / "o.mp4", size=(64, 48)))
    assert [each.done for each in seen] == [1, 2, 3, 4]
    assert {(each.step, each.total) for each in seen} == {("render", 4)}


def test_a_picture_gives_a_picture(tmp_path: Path) -> None:
    render_picture(grey(70), Brighter(), tmp_path / "out.png")
    assert int(cv2.imread(str(tmp_path / "out.png"))[0, 0, 0]) == 100
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp"])
def test_a_picture_has_its_badge_and_marks(tmp_path: Path, name: str) -> None:
    badge = corner_badge("top-left")
    marks = replace(ANIMATED, source="a" * 64, drivers=("b" * 64,), model="c" * 64)
    render_picture(grey(70, (320, 240)), Brighter(), tmp_path / name, provenance=marks, badge=badge)
    assert read_marks(tmp_path / name) == replace(marks, tool=this_program())
    image = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE).astype(int)
    assert abs(image[120:] - 100).max() <= 2
    assert (abs(image[:40, :80] - 100) > 20).mean() > 0.2


def test_a_video_has_its_badge_and_marks(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(70, (320, 240))] * 2)
    out, marks = tmp_path / "out.mp4", replace(ANIMATED, source="a" * 64, model="c" * 64)
    badge = corner_badge("bottom-right")
    list(render_video(VideoFile(driving), Brighter(), out, size=(320, 240), provenance=marks, badge=badge))
    assert read_marks(out) == replace(marks, tool=this_program())
    for timed in VideoFile(out):
        assert (abs(timed.image[-40:, -80:].astype(int) - 100) > 20).mean() > 0.2
        assert (abs(timed.image[:120].astype(int) - 100) <= 4).all()


def test_a_video_states_the_covered_frames_where_it_can_at_its_end(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(70)] * 3)
    for name, stated in (("out.mp4", {"mouth": 2}), ("out.mkv", None)):
        steps = Steps(
            render_video(
                VideoFile(driving), Brighter(), tmp_path / name, size=(64, 48), covered=lambda: {"mouth": 2}
            )
        )
        assert steps.result().covered == {"mouth": 2}
        marks = read_marks(tmp_path / name)
        assert marks is not None
        assert (marks.covered, marks.driver_covered) == (None, stated)


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be written"):
        write_picture(tmp_path / "nowhere" / "out.png", grey(1))


@pytest.mark.parametrize(
    ("driving", "out", "message"),
    [
        ("a.mp4", "b.png", "a.mp4 is a video, so OUT must be one too"),
        ("a.png", "b.mp4", "a.png is a picture, so OUT must be one too"),
        ("a.mp4", "b.txt", "names no video format"),
        ("a.mp4", "nowhere/b.mp4", "there is no folder"),
        ("a.mp4", "a.mp4", "is the driving file itself"),
    ],
)
def test_mismatched_names_are_refused_before_rendering(
    tmp_path: Path, driving: str, out: str, message: str
) -> None:
    (tmp_path / driving).write_bytes(b"x")
    with pytest.raises(EngineError, match=message):
        check_names(tmp_path / driving, tmp_path / out)


def _sound(path: Path) -> bytes:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return b""
        return b"".join(bytes(packet) for packet in container.demux(container.streams.audio[0]))


class Student:
    """Records its observations before they are drawn."""

    def __init__(self, *, needs_neutral: bool) -> None:
        self.needs_neutral = needs_neutral
        self.times_s: list[float] = []
        self.ended = False

    def observe(self, frame: Frame) -> Frame:
        return frame

    def study(self, seen: Frame) -> None:
        self.times_s.append(seen.captured_ns * 1e-9)

    def end_study(self) -> None:
        self.ended = True


def test_the_whole_video_is_studied_a_few_times_a_second(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mp4", [grey(i) for i in range(75)])
    student = Student(needs_neutral=True)
    list(study_video(driving, student))  # type: ignore[arg-type]
    assert student.ended
    assert student.times_s[0] == 0.0
    assert student.times_s[-1] > 2.5
    assert np.diff(student.times_s).min() >= 0.2 - 1e-6


def test_damage_found_in_study_is_reported_by_the_rendering(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "a.mkv", [grey(i) for i in range(75)])
    driving.write_bytes(driving.read_bytes()[: driving.stat().st_size // 2])
    student = Student(needs_neutral=True)
    list(study_video(driving, student))  # type: ignore[arg-type]
    assert student.ended


def test_nothing_is_studied_without_a_neutral(tmp_path: Path) -> None:
    student = Student(needs_neutral=False)
    list(study_video(tmp_path / "is not opened.mp4", student))  # type: ignore[arg-type]
    assert not student.ended
