"""Clock, worker and buffers."""

import threading

import numpy as np
import pytest

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.concurrency.clock import MonotonicClock
from mimicam.engine.concurrency.threads import Worker, start_pool
from tests.fake_clock import FakeClock


def test_waiting_for_a_moment_that_has_passed_returns_at_once() -> None:
    assert MonotonicClock().wait_until(0, threading.Event()) is False


def test_stop_ends_a_wait() -> None:
    stop = threading.Event()
    stop.set()
    clock = MonotonicClock()
    assert clock.wait_until(clock.now_ns() + 3_600_000_000_000, stop) is True


def test_the_fake_clock_jumps_to_what_is_waited_for() -> None:
    clock = FakeClock()
    clock.wait_until(5_000_000_000, threading.Event())
    clock.advance(0.5)
    assert clock.now_ns() == 5_500_000_000


def test_a_worker_keeps_its_error_and_raises_it_again() -> None:
    ended = threading.Event()

    def fail() -> None:
        raise OSError("driver gone")

    worker = Worker("source", fail, on_end=ended.set)
    worker.start()
    assert ended.wait(10)
    assert worker.join(10)
    with pytest.raises(OSError, match="driver gone"):
        worker.raise_error()


def test_a_pool_has_all_its_threads_from_the_start() -> None:
    with start_pool(3, "pool of the test") as pool:
        names = {
            thread.name for thread in threading.enumerate() if thread.name.startswith("pool of the test")
        }
        assert len(names) == 3
        assert [pool.submit(pow, 2, n).result(10) for n in range(4)] == [1, 2, 4, 8]


def test_a_buffer_in_use_is_never_handed_out_again() -> None:
    pool = BufferPool((4, 4, 3), np.uint8, count=2)
    first = pool.take()
    first_address = first.ctypes.data
    view = first[1:]
    del first  # the view still looks into it
    others = [pool.take() for _ in range(4)]
    assert first_address not in {other.ctypes.data for other in others}
    assert view.base is not None


def test_released_buffers_are_used_again() -> None:
    pool = BufferPool((4, 4, 3), np.uint8, count=3)
    for _ in range(100):
        held = pool.take()
        del held
    assert pool.size == 3
