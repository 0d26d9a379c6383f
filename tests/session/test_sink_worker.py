"""What a worker counts of its sink."""

import numpy as np
import pytest

from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.sink_worker import SinkWorker
from mimicam.engine.types import Frame
from tests.fake_clock import FakeClock
from tests.session.fakes import ListSink


def _write(worker: SinkWorker, clock: FakeClock, periods_s: list[float]) -> None:
    for seq, period_s in enumerate(periods_s):
        clock.advance(period_s)
        worker.slot.put(Frame(image=np.zeros((2, 2, 3), np.uint8), seq=seq, captured_ns=clock.now_ns()))
        worker.turn()


def test_the_rate_is_right_despite_a_burst_of_two_frames() -> None:
    clock = FakeClock()
    worker = SinkWorker(ListSink(), clock, Drops())
    assert worker.fps_now == 0.0
    _write(worker, clock, [0.0, *[0.001, 0.199] * 40])
    assert worker.fps_now == pytest.approx(10.0, rel=0.1)


def test_first_rates_are_means_and_a_reset_clears_them() -> None:
    clock = FakeClock()
    worker = SinkWorker(ListSink(), clock, Drops())
    _write(worker, clock, [0.0, 0.001, 0.199])
    assert worker.fps_now == pytest.approx(10.0)
    worker.reset()
    assert worker.fps_now == 0.0
