"""One sink of a session: its slot, its thread's work, and its counts."""

from __future__ import annotations

import threading
from contextlib import suppress

from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot
from mimicam.engine.concurrency.timings import Histogram
from mimicam.engine.errors import EngineError
from mimicam.engine.report import SinkReport
from mimicam.engine.sinks import Sink
from mimicam.engine.types import Frame

_POLL_S = 0.03
_FPS_MEMORY = 0.95


def reason_of(sink: Sink, error: Exception) -> EngineError:
    """Turn any error of a sink into one line for the user."""
    if isinstance(error, EngineError):
        return error
    text = " ".join(str(error).split()) or "no more is known"
    return EngineError(f"{sink.name} broke ({type(error).__name__}: {text}): leave it out, or start again")


class SinkWorker:
    """One sink with its slot, its thread's work, and its counts."""

    def __init__(self, sink: Sink, clock: Clock, drops: Drops) -> None:
        self.sink = sink
        self.slot: LatestSlot[Frame] = LatestSlot(drops, sink.name)
        self.opened = threading.Event()
        """Set once ``open`` has returned or failed; ``failure`` holds the error."""
        self.failure: BaseException | None = None
        self.age = Histogram()
        """Frame age at the end of ``write``: capture to written."""
        self._clock, self._drops = clock, drops
        self._writing = False
        self.reset()

    def reset(self) -> None:
        """Count from now on, as after a warm-up."""
        self.written, self.first_ns, self.last_ns, self.last_seq = 0, 0, 0, -1
        self._period_s = 0.0
        self.age.clear()

    @property
    def fps_now(self) -> float:
        """Frames a second over the last twenty or so; 0 before the second frame."""
        return 1 / self._period_s if self._period_s else 0.0

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Open the sink; a failure closes it."""
        try:
            self.sink.open(size, fps)
        except BaseException as error:
            # Kept here as well: the thread that opened the sink is not the one that reports.
            self.failure = error
            self.sink.close()
            raise
        finally:
            self.opened.set()

    def run(self, size: tuple[int, int], fps: float) -> None:
        """Open the sink, write frames until the slot closes, close it. For a thread of its own."""
        self.open(size, fps)
        try:
            while self.turn():
                pass
        finally:
            self.sink.close()

    def turn(self) -> bool:
        """Write the waiting frame, if one comes soon. False: the slot is closed and empty."""
        try:
            frame = self.slot.take(_POLL_S)
        except Closed:
            return False
        if frame is not None:
            self._write(frame)
        self.sink.poll()
        return True

    def give_up(self) -> None:
        """Count the frames that a broken or hanging sink took and will not write."""
        # First: frames that arrive from now on are counted by the slot itself.
        self.slot.close()
        with suppress(Closed):
            while self.slot.take(0.0) is not None:
                self._drops.count(self.sink.name)
        if self._writing:
            self._drops.count(self.sink.name)

    def _write(self, frame: Frame) -> None:
        self._writing = True
        self.sink.write(frame)
        self._writing = False  # not where it breaks: then the frame is lost, see `give_up`
        self._count(frame)

    def _count(self, frame: Frame) -> None:
        now_ns = self._clock.now_ns()
        self.age.add((now_ns - frame.captured_ns) / 1e6)
        if self.written and now_ns > self.last_ns:
            # Periods are averaged, not rates: two frames in a burst would be a rate of thousands.
            period_s = (now_ns - self.last_ns) / 1e9
            memory = min(_FPS_MEMORY, 1 - 1 / self.written)
            self._period_s += (1 - memory) * (period_s - self._period_s)
        self.first_ns = self.first_ns or now_ns
        self.last_ns, self.last_seq = now_ns, frame.seq
        self.written += 1

    def report(self) -> SinkReport:
        """Report frames written so far, their rate and age."""
        span_s = (self.last_ns - self.first_ns) / 1e9
        fps = (self.written - 1) / span_s if span_s > 0 else 0.0
        return SinkReport(
            name=self.sink.name, written=self.written, fps=fps, age_ms=self.age.percentiles(), ages=self.age
        )
