"""Files played as if they were cameras."""

import threading
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sources.file import PacedSource, play
from mimicam.engine.sources.video import Timed
from mimicam.engine.types import Frame, Image
from tests.fake_clock import FakeClock
from tests.videos import grey, write_video


def _picture(path: Path) -> Image:
    return grey(int(path.stem))


def _drain(source: PacedSource, most: int = 1000) -> list[Frame]:
    stop, frames = threading.Event(), []
    while len(frames) < most and (frame := source.read(stop)) is not None:
        frames.append(frame)
    return frames


def test_frames_are_delivered_at_the_files_own_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(i) for i in range(4)], times_s=[0.0, 0.1, 0.5, 0.6])
    clock = FakeClock(start_ns=10_000_000_000)
    frames = _drain(play(path, clock=clock, read_picture=_picture))
    assert [f.seq for f in frames] == [0, 1, 2, 3]
    assert [(f.captured_ns - 10_000_000_000) / 1e9 for f in frames] == pytest.approx([0, 0.1, 0.5, 0.6])
    assert clock.now_ns() == frames[-1].captured_ns, "the source did not wait until the last frame was due"


def test_a_looping_video_goes_on_with_the_next_number_and_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(i) for i in range(3)], fps=25)
    frames = _drain(play(path, clock=FakeClock(), read_picture=_picture, loop=True), most=8)
    assert [f.seq for f in frames] == list(range(8))
    assert np.diff([f.captured_ns for f in frames]) / 1e6 == pytest.approx(40.0, abs=1.0)


def test_another_rate_plays_the_same_pictures_faster(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(i) for i in range(4)], fps=25)
    frames = _drain(play(path, clock=FakeClock(), read_picture=_picture, fps=50.0))
    assert np.diff([f.captured_ns for f in frames]) / 1e6 == pytest.approx(20.0, abs=1.0)


def test_a_picture_is_repeated_until_somebody_stops(tmp_path: Path) -> None:
    (tmp_path / "120.png").write_bytes(b"not read here")
    source = play(tmp_path / "120.png", clock=FakeClock(), read_picture=_picture)
    frames = _drain(source, most=3)
    assert [int(f.image[0, 0, 0]) for f in frames] == [120, 120, 120]
    stop = threading.Event()
    stop.set()
    assert source.read(stop) is None


def test_a_broken_video_fails_when_it_is_opened_not_later(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 1000)
    with pytest.raises(EngineError, match="not a video"):
        play(tmp_path / "a.mp4", clock=FakeClock(), read_picture=_picture)


def test_a_source_that_falls_behind_starts_its_schedule_anew() -> None:
    clock = FakeClock()
    stills = (Timed(image=grey(0), time_s=i / 10) for i in range(3))
    source = PacedSource(stills, name="x", fps=10, clock=clock)
    source.read(threading.Event())
    clock.advance(30.0)  # the machine slept
    late = source.read(threading.Event())
    assert late is not None
    assert clock.now_ns() - late.captured_ns == 0, "the age of the sleep would stay for ever"
    assert source.slips == 1
