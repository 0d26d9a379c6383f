"""A running session: one thread reads, two compute (`FrameLoop`), one writes per sink.

source thread -> slot -> observing thread -> slot -> drawing thread -> slot per sink -> sink threads

No thread waits for a slower one: every slot holds one frame, and the newest wins.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mimicam.engine.concurrency.clock import Clock, MonotonicClock
from mimicam.engine.concurrency.interrupts import Interrupts, interrupts_noted
from mimicam.engine.concurrency.lookahead import Lookahead
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.concurrency.threads import Worker
from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.errors import EngineError
from mimicam.engine.frame_loop import REPLACED, STOPPED, FrameLoop
from mimicam.engine.pipeline import FramePath
from mimicam.engine.report import Report
from mimicam.engine.sink_worker import SinkWorker, reason_of
from mimicam.engine.sinks import Sink
from mimicam.engine.sources import Source
from mimicam.engine.stages.cover import CoveredFrames
from mimicam.engine.types import Frame

_SOURCE = "source"
"""Name of the reading thread."""
OPEN_LIMIT_S = 15.0
"""Seconds within which a sink has to open."""
STOP_LIMIT_S = 2.0
"""Seconds for the shutdown: half for source and loop, half for the sinks."""
_WAIT_S = 0.2
"""Seconds between wake-ups of the main thread: on Windows, Ctrl-C is noticed only between waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """Parts that a session connects."""

    source: Source
    pipeline: FramePath
    sinks: Sequence[Sink]
    size: tuple[int, int]
    """Width, height of the results."""


class Session:
    """Connects source, pipeline and sinks, and runs them once."""

    def __init__(
        self,
        parts: SessionParts,
        *,
        clock: Clock | None = None,
        timings: Timings | None = None,
        drops: Drops | None = None,
        covered: CoveredFrames | None = None,
        on_lost: Callable[[str], None] = lambda _: None,
        on_slow: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Connect the parts; nothing starts yet.

        Args:
            parts: source, pipeline, sinks; the session closes them.
            clock: the one that stamped the source's frames.
            timings: the pipeline's, for the report.
            drops: counter of drops; the source's own, if it has one.
            covered: the pipeline's counter of covered parts of the face, for the report.
            on_lost: receives at once, on any thread, why a sink broke while others go on.
            on_slow: receives at the end the names of sinks that take longer than usual.

        Raises:
            ValueError: no sink, or two that need the main thread.
        """
        if not parts.sinks or sum(sink.main_thread for sink in parts.sinks) > 1:
            raise ValueError("sinks must be at least one, and only one of them a window")
        self._parts = parts
        self._clock = clock or MonotonicClock()
        self._timings = timings or Timings()
        self._drops, self._covered = drops or Drops(), covered or CoveredFrames()
        self._sink_workers = [SinkWorker(sink, self._clock, self._drops) for sink in parts.sinks]
        # Two events: `_stop` asks the threads to end, `_ended` tells the main thread that they do.
        self._stop = threading.Event()
        self._loop = FrameLoop(
            parts.pipeline.observe,
            parts.pipeline.draw,
            self._hand_out,
            lookahead=Lookahead(self._clock),
            drops=self._drops,
            stop=self._stop,
            on_drained=self._close_slots,
            on_fail=lambda _: self.stop(),
        )
        self._ended = threading.Event()
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        # The window, if any, runs on the thread that calls `run`.
        self._main_sink = next((worker for worker in self._sink_workers if worker.sink.main_thread), None)
        self._main_open = False
        self._sinks_left, self._broken = len(self._sink_workers), 0
        self._on_lost, self._on_slow = on_lost, on_slow
        self._lost: list[str] = []
        self._frames_in = self._frames_out = 0
        self._start_ns = self._end_ns = self._clock.now_ns()

    def stop(self) -> None:
        """Request the end, from any thread."""
        self._stop.set()
        self._ended.set()

    def run(
        self,
        seconds: float | None = None,
        *,
        warm_up_s: float = 0.0,
        on_counting: Callable[[], None] = lambda: None,
    ) -> Report:
        """Run until the source ends, ``stop`` is called, Ctrl-C, or the time is over.

        Args:
            seconds: duration; None has no limit.
            warm_up_s: duration before counting starts.
            on_counting: called when it starts.

        Raises:
            EngineError: the source, the pipeline or the last sink failed, or a sink did not open.
                All else was closed in order. A sink that breaks while others work is dropped and
                reported.
        """
        interrupted = False
        with interrupts_noted() as interrupts:
            try:
                self._start_sinks(interrupts)
                self._reset()
                self._workers += self._loop.workers
                self._loop.start()
                self._start(self._read, _SOURCE)
                if warm_up_s:
                    self._supervise(warm_up_s, interrupts)
                    self._reset()
                on_counting()
                self._supervise(seconds, interrupts)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                # During the shutdown, Ctrl-C only ends the wait for slow sinks.
                interrupts.forget()
                stuck = self._shut_down(interrupts)
        for worker in self._workers:
            worker.raise_error()
        return self._report(interrupted, stuck)

    def stats(self) -> list[str]:
        """Return rate, frame age and drops of the first sink, for an overlay."""
        worker = self._sink_workers[0]
        drops = ", ".join(f"{reason} {n}" for reason, n in self._drops.by_reason().items())
        line = f"{worker.fps_now:.1f} fps  age {worker.age.last_ms:.0f} ms  drops: {drops or 'none'}"
        return [line, *([self._parts.source.status] if self._parts.source.status else [])]

    def _start_sinks(self, interrupts: Interrupts) -> None:
        size, fps = self._parts.size, self._parts.source.fps
        for worker in self._sink_workers:
            if worker is self._main_sink:
                worker.open(size, fps)
                self._main_open = True
            else:
                self._start(partial(self._run_sink, worker, size, fps), worker.sink.name)
        # Sinks open in parallel; the source starts when all of them are open.
        for worker in self._sink_workers:
            limit_s = time.monotonic() + OPEN_LIMIT_S
            while not worker.opened.wait(_WAIT_S):
                interrupts.raise_if_asked()
                if time.monotonic() > limit_s:
                    name = worker.sink.name
                    raise EngineError(f"{name} did not open within {OPEN_LIMIT_S:g} s: restart its driver")
            if isinstance(worker.failure, Exception):
                raise reason_of(worker.sink, worker.failure) from worker.failure
            if worker.failure is not None:
                raise worker.failure

    def _run_sink(self, worker: SinkWorker, size: tuple[int, int], fps: float) -> None:
        try:
            worker.run(size, fps)
        except Exception as error:  # the thread's top: any error costs this sink only
            if worker.failure is not None:
                raise
            self._lose(worker, error)
        else:
            self._one_lane_less()

    def _lose(self, worker: SinkWorker, error: Exception) -> None:
        """Continue without a sink that broke.

        Raises:
            EngineError: no other sink works.
        """
        worker.give_up()
        reason = reason_of(worker.sink, error)
        with self._lock:
            self._broken += 1
            last = self._broken == len(self._sink_workers)  # a sink that finished before counts as working
        if last:
            raise reason from error
        self._lost.append(str(reason))
        self._on_lost(str(reason))
        self._one_lane_less()

    def _one_lane_less(self) -> None:
        with self._lock:
            self._sinks_left -= 1
        # Outside the lock: an event may be set twice without harm.
        if not self._sinks_left:
            self._ended.set()

    def _start(self, work: Callable[[], None], name: str) -> None:
        worker = Worker(name, work, on_end=self._stop_on_error)
        # Listed before it starts: its end may be reported at once, and looks through the list.
        self._workers.append(worker)
        worker.start()

    @property
    def _names_before_sinks(self) -> set[str]:
        return {_SOURCE, *(worker.name for worker in self._loop.workers)}

    def _stop_on_error(self) -> None:
        if any(worker.error for worker in self._workers):
            self.stop()

    def _read(self) -> None:
        try:
            while (frame := self._parts.source.read(self._stop)) is not None:
                self._frames_in += 1
                self._loop.put(frame)
        finally:
            # Also after an error: frames that wait are still drawn.
            self._loop.end()

    def _hand_out(self, result: Frame) -> None:
        self._frames_out += 1
        for worker in self._sink_workers:
            worker.slot.put(result)

    def _close_slots(self) -> None:
        for worker in self._sink_workers:
            worker.slot.close()

    def _supervise(self, seconds: float | None, interrupts: Interrupts) -> None:
        """Wait until the end or for ``seconds``; pump the window, which needs this thread.

        Raises:
            KeyboardInterrupt: a signal asked for the end.
        """
        # Real time: the session's clock may be a fake one.
        deadline_s = math.inf if seconds is None else time.monotonic() + seconds
        while not self._ended.is_set():
            interrupts.raise_if_asked()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            if self._main_sink is None:
                self._ended.wait(min(left_s, _WAIT_S))
            elif not self._turn(self._main_sink):
                return

    def _turn(self, worker: SinkWorker) -> bool:
        """Run one turn of the window; return False if no more frames come."""
        try:
            return worker.turn()
        except Exception as error:
            self._close_main_lane()
            self._main_sink = None
            self._lose(worker, error)
            return True

    def _reset(self) -> None:
        """Start counting from here."""
        self._timings.clear()
        self._drops.clear()
        self._covered.clear()
        self._frames_in = self._frames_out = 0
        for worker in self._sink_workers:
            worker.reset()
        self._start_ns = self._clock.now_ns()

    def _shut_down(self, interrupts: Interrupts) -> tuple[str, ...]:
        """Stop source, loop and sinks, each within its limit; return the names that still run."""
        self._end_ns = self._clock.now_ns()
        self.stop()
        self._loop.close()
        before = [worker for worker in self._workers if worker.name in self._names_before_sinks]
        stuck = _join(before, STOP_LIMIT_S / 2)
        # Closed after the drawing thread has ended, so that sinks still write its last frame.
        self._close_slots()
        self._close_main_lane()
        stuck += self._finish_sinks([worker for worker in self._workers if worker not in before], interrupts)
        self._parts.source.close()
        self._count_abandoned(stuck)
        return tuple(stuck)

    def _finish_sinks(self, workers: list[Worker], interrupts: Interrupts) -> list[str]:
        """Wait for the sinks' threads; those that write to a disk may take longer, until Ctrl-C."""
        stuck = _join(workers, STOP_LIMIT_S / 2)
        # Names are unique: `open_sinks` refuses the same sink twice.
        limits = {worker.sink.name: worker.sink.stop_limit_s for worker in self._sink_workers}
        # Sinks that complete a file have a longer limit of their own.
        patient = [
            worker for worker in workers if worker.name in stuck and limits[worker.name] > STOP_LIMIT_S / 2
        ]
        if patient and not interrupts.urgent:
            self._on_slow(", ".join(worker.name for worker in patient))
            _join(patient, max(limits[worker.name] for worker in patient), interrupts)
        return [worker.name for worker in workers if worker.name in stuck and not worker.join(0.0)]

    def _count_abandoned(self, stuck: list[str]) -> None:
        """Count frames that a hanging thread holds as dropped, so that every frame is counted."""
        for worker in self._sink_workers:
            if worker.sink.name in stuck:
                worker.give_up()
        if set(stuck) & self._names_before_sinks:
            drops = self._drops.by_reason()
            # What was neither drawn nor counted is held by the thread that hangs.
            counted = self._frames_out + drops.get(REPLACED, 0) + drops.get(STOPPED, 0)
            for _ in range(self._frames_in - counted):
                self._drops.count(STOPPED)

    def _close_main_lane(self) -> None:
        if self._main_sink is None or not self._main_open:
            return
        self._main_open = False
        try:
            self._main_sink.sink.close()
        except Exception as error:  # a window that does not close must not cost another sink's file
            self._lost.append(str(reason_of(self._main_sink.sink, error)))

    def _report(self, interrupted: bool, stuck: tuple[str, ...]) -> Report:
        return Report(
            seconds=(self._end_ns - self._start_ns) / 1e9,
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            drops=self._drops.by_reason(),
            sinks=tuple(worker.report() for worker in self._sink_workers),
            stages=self._timings.summary(),
            covered=self._covered.by_part(),
            interrupted=interrupted,
            stuck=stuck,
            lost=tuple(self._lost),
        )


def _join(workers: list[Worker], limit_s: float, interrupts: Interrupts | None = None) -> list[str]:
    """Join workers within the limit or until an urgent signal; return the names that still run."""
    end_s = time.monotonic() + limit_s
    for worker in workers:
        # Short waits, so that a signal is noticed.
        while (left_s := end_s - time.monotonic()) > 0 and not worker.join(min(left_s, _WAIT_S)):
            if interrupts is not None and interrupts.urgent:
                break
    return [worker.name for worker in workers if not worker.join(0.0)]
