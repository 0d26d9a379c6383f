"""The one-euro filter: still is still, a step arrives, times are the frames' own."""

import itertools

import numpy as np
import pytest

from mimicam.engine.face.one_euro import OneEuro
from mimicam.engine.types import Float

FRAME_NS = 33_333_333


def _vector(*values: float) -> Float:
    return np.array(values, np.float32)


def _filter() -> OneEuro:
    return OneEuro(cutoff_hz=3.0, beta=8.0)


def test_a_still_input_stays_exactly() -> None:
    smooth = _filter()
    value = _vector(0.25, -0.5)
    for index in range(20):
        assert (smooth(value, index * FRAME_NS) == value).all()


def test_a_step_is_approached_from_one_side_and_reached() -> None:
    smooth = _filter()
    smooth(_vector(0.0), 0)
    seen = [float(smooth(_vector(1.0), index * FRAME_NS)[0]) for index in range(1, 40)]
    assert all(b >= a for a, b in itertools.pairwise(seen))
    assert seen[0] > 0.3, "a quick move is not late"
    assert seen[-1] == pytest.approx(1.0, abs=1e-3)


def test_a_tremble_is_damped() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.004, 300).astype(np.float32)
    smooth = _filter()
    out = [float(smooth(_vector(n), i * FRAME_NS)[0]) for i, n in enumerate(noise)]
    assert np.std(np.diff(out)) < 0.6 * np.std(np.diff(noise))


def test_components_do_not_touch_each_other() -> None:
    both, alone = _filter(), _filter()
    rng = np.random.default_rng(0)
    for index in range(10):
        a, b = rng.random(2)
        pair = both(_vector(a, b), index * FRAME_NS)
        assert pair[0] == alone(_vector(a), index * FRAME_NS)[0]


def test_a_longer_gap_lets_more_of_the_new_value_through() -> None:
    quick, slow = OneEuro(cutoff_hz=1.0, beta=0.0), OneEuro(cutoff_hz=1.0, beta=0.0)
    quick(_vector(0.0), 0)
    slow(_vector(0.0), 0)
    assert quick(_vector(1.0), FRAME_NS)[0] < slow(_vector(1.0), 4 * FRAME_NS)[0]
    # Without the speed term it is a first-order low pass: its value after a time does not depend on the steps.
    for index in range(2, 5):
        last = quick(_vector(1.0), index * FRAME_NS)
    assert last[0] == pytest.approx(slow(_vector(1.0), 4 * FRAME_NS)[0], abs=1e-5)


def test_a_time_that_does_not_advance_gives_the_last_value() -> None:
    smooth = _filter()
    first = smooth(_vector(0.3), 5 * FRAME_NS)
    assert (smooth(_vector(0.9), 5 * FRAME_NS) == first).all()
    assert (smooth(_vector(0.9), 2 * FRAME_NS) == first).all()
    assert smooth(_vector(0.9), 6 * FRAME_NS)[0] > first[0]


def test_after_a_reset_the_next_value_is_taken_whole() -> None:
    smooth = _filter()
    smooth(_vector(0.0), 0)
    smooth.reset()
    assert smooth(_vector(1.0), FRAME_NS)[0] == 1.0


def test_the_inputs_array_may_be_used_again() -> None:
    smooth = _filter()
    value = _vector(0.0)
    smooth(value, 0)
    value[0] = 1.0
    assert smooth(_vector(0.0), FRAME_NS)[0] == 0.0
