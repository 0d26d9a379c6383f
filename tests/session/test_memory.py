"""Memory of a long session: nothing is kept per frame."""

import gc
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.pipeline import Observation, Pipeline
from mimicam.engine.portrait import enroll
from mimicam.engine.session import Session, SessionParts
from mimicam.engine.types import EditSettings, Face, Frame
from tests.fake_clock import FakeClock
from tests.fake_tracker import FakeTracker
from tests.session.fakes import ListSink, ScriptedSource
from tests.session.test_live_path import FlatModel

# After the 1,024th call of each function, when Python 3.10 allocates a cache for it. Far enough
# apart, since NumPy itself keeps some hundred small numbers for a while (10 to 20 KB, measured).
_FIRST, _LAST, _WEIGHINGS = 1100, 2300, 10
_ROOM_BYTES = 32 * (_LAST - _FIRST)
"""Bytes. Less than a list with one number for each frame in between."""


class Weighed:
    """A pipeline that measures the process's Python memory early and late.

    The least of several counts: at any moment the other threads hold a frame or two.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.early: list[int] = []
        self.late: list[int] = []

    def observe(self, frame: Frame) -> Observation:
        return self._pipeline.observe(frame)

    def draw(self, seen: Observation) -> Frame:
        result = self._pipeline.draw(seen)
        for begin, weights in ((_FIRST, self.early), (_LAST, self.late)):
            if begin <= seen.frame.seq < begin + _WEIGHINGS:
                gc.collect()
                weights.append(tracemalloc.get_traced_memory()[0])
        return result


class ForgetfulSink(ListSink):
    """Keeps only the newest frame, and releases the source."""

    def __init__(self, source: ScriptedSource) -> None:
        super().__init__()
        self._source = source

    def write(self, frame: Frame) -> None:
        self.seen[:] = [frame.seq]
        self._source.gate.release()


def _frames() -> Iterator[Frame]:
    image = np.zeros((48, 64, 3), np.uint8)
    for seq in range(_LAST + _WEIGHINGS):
        yield Frame(image=image, seq=seq, captured_ns=seq * 33_000_000)


@pytest.mark.slow  # a minute: tracemalloc slows every frame
@pytest.mark.timeout(300)
def test_a_session_keeps_nothing_for_a_frame_that_was_shown() -> None:
    model = FlatModel()
    portrait = enroll(ASSETS / "portraits" / "astronaut.jpg", model=model)
    face = FaceTracker()(portrait.picture)
    faces = iter(range(10**9))
    pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings(), size=(96, 64))

    def track() -> Face | None:
        return face if next(faces) % 50 < 40 else None  # lost and found again

    pipeline.track = FakeTracker(track)  # type: ignore[assignment]
    weighed, source = Weighed(pipeline), ScriptedSource([], gated=True)
    source._frames = _frames()
    source.gate.release()
    parts = SessionParts(source=source, pipeline=weighed, sinks=[ForgetfulSink(source)], size=(96, 64))
    tracemalloc.start()
    try:
        report = Session(parts, clock=FakeClock()).run()
    finally:
        tracemalloc.stop()
    assert report.frames_out == _LAST + _WEIGHINGS
    assert min(weighed.late) - min(weighed.early) < _ROOM_BYTES
