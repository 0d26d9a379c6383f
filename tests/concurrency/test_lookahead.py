"""When the next look begins."""

import threading

import pytest

from mimicam.engine.concurrency.lookahead import LateLookahead, Lookahead, Span
from tests.fake_clock import FakeClock


def _lasting(span: Span, clock: FakeClock, *seconds: float) -> None:
    for each in seconds:
        with span:
            clock.advance(each)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lookahead(clock: FakeClock) -> Lookahead:
    return Lookahead(clock)


def test_the_first_observations_start_at_once(clock: FakeClock, lookahead: Lookahead) -> None:
    assert lookahead.spare_ns() == 0
    _lasting(lookahead.observing, clock, 0.005)
    assert lookahead.spare_ns() == 0


def test_beside_a_long_drawing_observing_starts_late(clock: FakeClock, lookahead: Lookahead) -> None:
    _lasting(lookahead.observing, clock, 0.010, 0.010)  # the second of them is being drawn
    _lasting(lookahead.drawing, clock, 0.100)
    began_ns = clock.now_ns()
    lookahead.wait_to_observe(threading.Event())
    assert (clock.now_ns() - began_ns) / 1e6 == pytest.approx(100 - 10 - 8)


def test_beside_a_short_drawing_observing_starts_at_once(clock: FakeClock, lookahead: Lookahead) -> None:
    _lasting(lookahead.observing, clock, 0.006, 0.006)
    _lasting(lookahead.drawing, clock, 0.012)
    began_ns = clock.now_ns()
    lookahead.wait_to_observe(threading.Event())
    assert clock.now_ns() == began_ns


def test_while_nothing_is_drawn_observing_starts_at_once(clock: FakeClock, lookahead: Lookahead) -> None:
    _lasting(lookahead.observing, clock, 0.010)
    _lasting(lookahead.drawing, clock, 0.100)
    began_ns = clock.now_ns()
    lookahead.wait_to_observe(threading.Event())
    assert clock.now_ns() == began_ns


def test_shortest_drawing_and_longest_observation_count(clock: FakeClock, lookahead: Lookahead) -> None:
    _lasting(lookahead.observing, clock, 0.010, 0.020, 0.010)
    _lasting(lookahead.drawing, clock, 0.100, 0.060, 0.100)
    assert lookahead.spare_ns() / 1e6 == pytest.approx(60 - 20 - 8)


def test_old_durations_are_forgotten(clock: FakeClock, lookahead: Lookahead) -> None:
    _lasting(lookahead.observing, clock, 0.001)
    _lasting(lookahead.drawing, clock, 0.010, *[0.100] * 8)
    assert lookahead.spare_ns() / 1e6 == pytest.approx(100 - 1 - 8)


def test_late_lookahead_compares_medians(clock: FakeClock) -> None:
    late = LateLookahead(clock)
    assert late.spare_ns() == 0
    _lasting(late.observing, clock, 0.010, 0.050, 0.010)
    _lasting(late.drawing, clock, 0.040, 0.040, 0.500)
    assert late.spare_ns() / 1e6 == pytest.approx(40 - 10)
