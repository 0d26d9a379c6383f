"""Two threads, one frame apart: every frame is drawn or counted, however they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mimicam.engine.concurrency.lookahead import Lookahead
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.frame_loop import FrameLoop
from tests.fake_clock import FakeClock
from tests.session.fakes import LIMIT_S


class Gate:
    """Blocks its callers until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, _: int) -> None:
        self.reached.set()
        assert self.open.wait(LIMIT_S)


class Running:
    """A running loop over numbers that records its results."""

    def __init__(
        self,
        observe: Callable[[int], None] = lambda _: None,
        draw: Callable[[int], None] = lambda _: None,
        around: Any = None,
    ) -> None:
        self.drops, self.drained = Drops(), threading.Event()
        self.drawn: list[int] = []
        self.failures: list[str] = []
        self.observed = threading.Semaphore(0)
        self._before_observe, self._before_draw = observe, draw
        self.loop: FrameLoop[int, int, int] = FrameLoop(
            self._observe, self._draw, self.drawn.append, lookahead=Lookahead(FakeClock()), drops=self.drops,
            stop=threading.Event(), around=around, on_drained=self.drained.set,
            on_fail=lambda error: self.failures.append(str(error)),
        )  # fmt: skip

    def ends(self) -> bool:
        """Whether both threads end."""
        drawing, observing = self.loop.workers
        return drawing.join(LIMIT_S) and observing.join(LIMIT_S)

    def _observe(self, number: int) -> int:
        self._before_observe(number)
        self.observed.release()
        return number

    def _draw(self, number: int) -> int:
        self._before_draw(number)
        return number


def _fail(_: int) -> None:
    raise ValueError("broken")


def test_waiting_items_are_drawn_when_the_input_ends() -> None:
    gate = Gate()
    running = Running(draw=gate)
    running.loop.start()
    running.loop.put(0)
    assert gate.reached.wait(LIMIT_S)
    running.loop.put(1)
    running.loop.end()
    gate.open.set()
    assert running.ends()
    assert running.drawn == [0, 1]
    assert running.drained.is_set()
    assert running.drops.total() == 0


def test_closing_counts_what_waits_in_both_slots() -> None:
    gate = Gate()
    running = Running(draw=gate)
    running.loop.start()
    running.loop.put(0)
    assert gate.reached.wait(LIMIT_S)
    running.loop.put(1)
    for _ in range(2):
        assert running.observed.acquire(timeout=LIMIT_S)
    running.loop.put(2)
    running.loop.close()
    gate.open.set()
    assert running.ends()
    assert running.drawn == [0], "the one in work is finished"
    assert running.drops.by_reason() == {"stopped": 2}


def test_every_item_is_drawn_or_counted_at_any_closing_time() -> None:
    for count in range(100):
        running = Running()
        running.loop.start()
        for number in range(count):
            running.loop.put(number)
        running.loop.close()
        running.loop.put(count)
        assert running.ends()
        assert running.drawn == sorted(running.drawn)
        assert len(running.drawn) + running.drops.total() == count + 1


def test_an_item_put_before_the_start_is_counted_on_close() -> None:
    running = Running()
    running.loop.put(0)
    running.loop.close()
    running.loop.start()
    assert running.ends()
    assert (running.drawn, running.drops.by_reason()) == ([], {"stopped": 1})


def test_an_observer_that_hangs_does_not_hold_the_drawing_thread() -> None:
    gate = Gate()
    running = Running(observe=gate)
    running.loop.start()
    running.loop.put(0)
    assert gate.reached.wait(LIMIT_S)
    running.loop.close()
    drawing, observing = running.loop.workers
    assert drawing.join(LIMIT_S)
    assert running.drained.is_set()
    assert not running.loop.join_observer(0.0)
    gate.open.set()
    assert observing.join(LIMIT_S)
    assert running.drops.by_reason() == {"stopped": 1}, "it was observed in vain"


@pytest.mark.parametrize("half", ["observe", "draw"])
def test_a_failing_half_ends_both_threads(half: str) -> None:
    running = Running(**{half: _fail})
    running.loop.start()
    running.loop.put(0)
    assert running.ends()
    assert running.failures == ["broken"]
    assert running.drained.is_set()
    running.loop.put(1)
    assert running.drops.total() == 1, "what comes later is counted"


def test_of_two_failures_the_first_is_reported() -> None:
    gate = Gate()

    def observe(number: int) -> None:
        if number:
            raise ValueError("observing")

    def draw(number: int) -> None:
        gate(number)
        raise ValueError("drawing")

    running = Running(observe, draw)
    running.loop.start()
    running.loop.put(0)
    assert gate.reached.wait(LIMIT_S)
    running.loop.put(1)
    assert running.loop.join_observer(LIMIT_S)
    gate.open.set()
    assert running.ends()
    assert running.failures == ["observing"]


def test_the_context_surrounds_all_work_on_the_drawing_thread() -> None:
    steps: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        steps.append(f"open on {threading.current_thread().name}")
        yield
        running.loop.join_observer(LIMIT_S)
        steps.append(f"close on {threading.current_thread().name}")

    running = Running(lambda _: steps.append("observe"), lambda _: steps.append("draw"), around())
    running.loop.put(0)
    running.loop.end()
    running.loop.start()
    assert running.ends()
    assert steps == ["open on drawing", "observe", "draw", "close on drawing"]


def test_a_context_that_fails_to_open_ends_the_loop() -> None:
    @contextmanager
    def around() -> Iterator[None]:
        raise ValueError("no model")
        yield

    running = Running(around=around())
    running.loop.start()
    assert running.ends()
    assert running.failures == ["no model"]
    assert running.drained.is_set()
    assert not running.loop.workers[1].started
