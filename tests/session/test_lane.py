"""What a lane counts of its sink."""

import numpy as np
import pytest

from mimicam.engine.concurrency.clock import FakeClock
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.lane import Lane
from mimicam.engine.types import Frame
from tests.session.fakes import ListSink


def _write(lane: Lane, clock: FakeClock, periods_s: list[float]) -> None:
    for seq, period_s in enumerate(periods_s):
        clock.advance(period_s)
        lane.slot.put(Frame(image=np.zeros((2, 2, 3), np.uint8), seq=seq, captured_ns=clock.now_ns()))
        lane.turn()


def test_the_rate_that_is_shown_is_that_of_the_frames_even_where_two_come_in_a_burst() -> None:
    clock = FakeClock()
    lane = Lane(ListSink(), clock, Drops())
    assert lane.fps_now == 0.0
    _write(lane, clock, [0.0, *[0.001, 0.199] * 40])
    assert lane.fps_now == pytest.approx(10.0, rel=0.1)


def test_the_first_rates_are_the_mean_so_far_and_a_reset_forgets_them() -> None:
    clock = FakeClock()
    lane = Lane(ListSink(), clock, Drops())
    _write(lane, clock, [0.0, 0.001, 0.199])
    assert lane.fps_now == pytest.approx(10.0)
    lane.reset()
    assert lane.fps_now == 0.0
