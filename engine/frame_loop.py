"""The two threads of a frame path: one observes the next frame while the other draws this one.

put -> slot -> observing thread -> slot -> drawing thread -> on_result

A session and each call in the studio run one. They differ in where frames come from, where results
go, and how late the observing thread may begin (`Lookahead`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Generic, TypeVar

from mimicam.engine.concurrency.lookahead import Lookahead
from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot
from mimicam.engine.concurrency.threads import Worker

Item = TypeVar("Item")
"""Input of `observe`: a frame, or a picture to make a frame of."""
Observation = TypeVar("Observation")
"""Output of `observe`, input of `draw`."""
Result = TypeVar("Result")

REPLACED = "inference"
"""Drop reason: a newer frame came while both threads were busy."""
STOPPED = "stopped"
"""Drop reason: the loop was stopped before the frame was drawn."""


class FrameLoop(Generic[Item, Observation, Result]):
    """Runs the observing and the drawing thread, once.

    Every item that is put is drawn or counted as dropped, unless its thread fails. The slots hold
    one item each: the newest that waits, and the one that was observed. A thread that fails ends
    the other one.
    """

    def __init__(
        self,
        observe: Callable[[Item], Observation],
        draw: Callable[[Observation], Result],
        on_result: Callable[[Result], None],
        *,
        lookahead: Lookahead,
        drops: Drops,
        stop: threading.Event,
        around: AbstractContextManager[Any] | None = None,
        on_drained: Callable[[], None] = lambda: None,
        on_fail: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Prepare both threads; `start` runs them.

        Args:
            observe: first half of the path, one call at a time, on the observing thread.
            draw: second half, one call at a time, on the drawing thread.
            on_result: receives each result, on the drawing thread.
            lookahead: decides when to observe.
            drops: counter of lost frames.
            stop: once set, from any thread, frames are dropped. `close` sets it, too.
            around: entered on the drawing thread before the first frame is observed, left after
                the last one is drawn. The observing thread may still be at work (`join_observer`).
            on_drained: called on the drawing thread: there are no more results.
            on_fail: called on a thread that failed, with its error; once, if both fail.
        """
        self._observe_item, self._draw_item, self._on_result = observe, draw, on_result
        self._lookahead, self._drops, self._stop = lookahead, drops, stop
        self._around = around or nullcontext()
        self._on_drained, self._on_fail = on_drained, on_fail
        self._waiting: LatestSlot[Item] = LatestSlot(drops, REPLACED)
        self._observed: LatestSlot[Observation] = LatestSlot(drops, STOPPED)
        # Never released: whoever acquires it first reports.
        self._first_failure = threading.Lock()
        self._observer = Worker("observing", self._observe, on_end=lambda: self._report(self._observer))
        self._drawer = Worker("drawing", self._draw, on_end=lambda: self._report(self._drawer))

    @property
    def workers(self) -> tuple[Worker, Worker]:
        """Drawing and observing thread, to join them and to read their errors."""
        return self._drawer, self._observer

    def start(self) -> None:
        """Start the drawing thread, which starts the other one."""
        self._drawer.start()

    def put(self, item: Item) -> None:
        """Offer an item, from any thread; never blocks, the newest wins."""
        self._waiting.put(item)

    def end(self) -> None:
        """End the input: waiting items are drawn, then both threads end."""
        self._waiting.close()

    def close(self) -> None:
        """Drop waiting items; both threads end after their current one."""
        # Before the slots close, so that a thread that wakes sees why.
        self._stop.set()
        self._waiting.close()
        self._observed.close()

    def join_observer(self, timeout_s: float) -> bool:
        """Wait for the observing thread; return False if it still runs."""
        return self._observer.join(timeout_s)

    def _observe(self) -> None:
        """Observe one item ahead of the drawing, never two."""
        try:
            while True:
                self._observed.wait_until_taken()
                # Take the item last: a newer frame may come during both waits.
                self._lookahead.wait_to_observe(self._stop)
                self._observe_one(self._waiting.take())
        except Closed:
            return
        finally:
            # The drawing thread still takes the last observation, then ends.
            self._observed.close()
            self._drop_waiting()

    def _observe_one(self, item: Item | None) -> None:
        assert item is not None, "a slot without a time limit gives an item or is closed"
        if self._stop.is_set():
            self._drops.count(STOPPED)
            return
        with self._lookahead.observing:
            observation = self._observe_item(item)
        self._observed.put(observation)

    def _drop_waiting(self) -> None:
        """Count items that will not be observed because the other thread has ended."""
        self._waiting.close()
        with suppress(Closed):
            while self._waiting.take(0.0) is not None:
                self._drops.count(STOPPED)

    def _draw(self) -> None:
        try:
            with self._around:
                # Started inside `around`, which prepares what both threads use.
                self._observer.start()
                self._draw_all()
        finally:
            self._on_drained()

    def _draw_all(self) -> None:
        try:
            while (observation := self._observed.take()) is not None:
                if self._stop.is_set():
                    self._drops.count(STOPPED)
                    continue
                with self._lookahead.drawing:
                    result = self._draw_item(observation)
                self._on_result(result)
        except Closed:
            return
        finally:
            # Otherwise the observing thread would wait for a slot that is never emptied.
            self.close()

    def _report(self, worker: Worker) -> None:
        # Both threads may fail; the first error is reported.
        if worker.error is not None and self._first_failure.acquire(blocking=False):
            self._on_fail(worker.error)
