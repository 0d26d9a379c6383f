"""Rings and histograms of durations."""

import numpy as np
import pytest

from mimicam.engine.concurrency.timings import Histogram, Ring, Timings


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


@pytest.mark.parametrize("scale_ms", [0.01, 1.0, 40.0, 3000.0])
def test_histogram_percentiles_match_numpy_to_half_a_per_cent(scale_ms: float) -> None:
    samples = scale_ms * np.random.default_rng(7).lognormal(sigma=0.5, size=20_000)
    seen = Histogram()
    for ms in samples:
        seen.add(float(ms))
    got = seen.percentiles()
    assert got is not None
    want = np.percentile(samples, [50, 90, 95, 99])
    assert [got.p50, got.p90, got.p95, got.p99] == pytest.approx(want, rel=0.005)
    assert got.max == samples.max()
    assert seen.share_above(2 * scale_ms) == pytest.approx((samples > 2 * scale_ms).mean(), abs=0.005)
    assert seen.count == 20_000


def test_a_histogram_takes_what_is_beyond_its_ends() -> None:
    seen = Histogram()
    for ms in (0.0, 1e9):
        seen.add(ms)
    got = seen.percentiles()
    assert got is not None
    assert got.p50 == pytest.approx(1e-3)
    assert got.max == seen.last_ms == 1e9


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None
    assert Histogram().share_above(1.0) == 0.0


def test_no_percentile_is_above_the_maximum() -> None:
    seen = Histogram()
    seen.add(40.0)
    got = seen.percentiles()
    assert got is not None
    assert 40.0 * 0.9975 <= got.p50 <= got.p99 <= got.max == 40.0


def test_a_stage_adds_one_sample_per_successful_block() -> None:
    timings = Timings()
    with timings.stage("track"):
        pass
    with pytest.raises(ZeroDivisionError), timings.stage("track"):
        _ = 1 / 0
    assert timings.of("track").count == 1
    assert timings.of("track").last_ms >= 0


def test_clear_forgets_the_warm_up() -> None:
    timings = Timings()
    timings.of("edit").add(500.0)
    timings.clear()
    timings.of("edit").add(1.0)
    assert timings.summary()["edit"].max == 1.0
