"""Counts of a sink's worker: rate, age and drops."""

import numpy as np
import pytest

from mimicam.engine.lane import Lane
from mimicam.engine.runtime.clock import FakeClock
from mimicam.engine.runtime.mailbox import Drops
from mimicam.engine.types import Frame
from tests.session.fakes import ListSink


def _write(lane: Lane, clock: FakeClock, periods_s: list[float]) -> None:
    for seq, period_s in enumerate(periods_s):
        clock.advance(period_s)
        lane.slot.put(Frame(image=np.zeros((2, 2, 3), np.uint8), seq=seq, captured_ns=clock.now_ns()))
        lane.turn()


def test_the_rate_is_right_despite_a_burst_of_two_frames() -> None:
    clock = FakeClock()
    lane = Lane(ListSink(), clock, Drops())
    assert lane.fps_now == 0.0
    _write(lane, clock, [0.0, *[0.001, 0.199] * 40])
    assert lane.fps_now == pytest.approx(10.0, rel=0.1)


def test_first_rates_are_means_and_a_reset_clears_them() -> None:
    clock = FakeClock()
    lane = Lane(ListSink(), clock, Drops())
    _write(lane, clock, [0.0, 0.001, 0.199])
    assert lane.fps_now == pytest.approx(10.0)
    lane.reset()
    assert lane.fps_now == 0.0
