"""Rings of durations."""

import numpy as np
import pytest

from engine.runtime.timings import Ring, Timings


def test_percentiles_are_those_of_numpy() -> None:
    ring = Ring(1000)
    for ms in range(1, 101):
        ring.add(float(ms))
    got = ring.percentiles()
    assert got is not None
    want = np.percentile(np.arange(1, 101), [50, 90, 95, 99])
    assert [got.p50, got.p90, got.p95, got.p99, got.max] == pytest.approx([*want, 100.0])


def test_a_full_ring_keeps_the_newest_samples() -> None:
    ring = Ring(4)
    for ms in range(10):
        ring.add(float(ms))
    assert sorted(ring.values_ms()) == [6, 7, 8, 9]
    assert ring.count == 10
    assert ring.last_ms == 9


def test_an_empty_ring_has_no_percentiles() -> None:
    assert Ring(4).percentiles() is None


def test_share_above_counts_samples_beyond_the_limit() -> None:
    ring = Ring(10)
    for ms in (10.0, 20.0, 61.0, 90.0):
        ring.add(ms)
    assert ring.share_above(60.0) == 0.5


def test_a_stage_adds_one_sample_per_block_and_none_for_a_failed_one() -> None:
    timings = Timings()
    with timings.stage("track"):
        pass
    with pytest.raises(ZeroDivisionError), timings.stage("track"):
        _ = 1 / 0
    assert timings.ring("track").count == 1
    assert timings.ring("track").last_ms >= 0


def test_rings_do_not_grow_in_the_loop() -> None:
    timings = Timings(capacity=16)
    ring = timings.ring("edit")
    size = ring._values.nbytes
    for _ in range(1000):
        with timings.stage("edit"):
            pass
    assert timings.ring("edit") is ring
    assert ring._values.nbytes == size


def test_clear_forgets_the_warm_up() -> None:
    timings = Timings()
    timings.ring("edit").add(500.0)
    timings.clear()
    timings.ring("edit").add(1.0)
    assert timings.summary()["edit"].max == 1.0
