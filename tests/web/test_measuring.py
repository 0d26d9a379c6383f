"""Evaluation in the studio's benchmarks."""

from __future__ import annotations

import random

import pytest

from mimicam.benchmarks.bad_network import LinkConditions, _first_candidate, _led_to
from mimicam.benchmarks.web_bad_network import growth, recovery, summary
from mimicam.benchmarks.web_loopback import _minutes, rate, summarise
from mimicam.engine.errors import EngineError


def _steady(age: float, count: int = 90, from_ms: float = 0.0) -> list[tuple[float, float | None]]:
    return [(from_ms + n * 40.0, age) for n in range(count)]


def test_ages_rates_and_gaps_are_those_of_the_pictures_seen() -> None:
    seen = [*_steady(50.0), (90 * 40.0 + 460.0, None)]
    facts = summarise(seen)
    assert (facts["pictures"], facts["age_ms"]["p50"], facts["longest_gap_ms"]) == (91, 50.0, 500.0)
    assert rate([(0.0, 10), (500.0, 20), (2000.0, 60)]) == 25.0
    assert summary(seen)["longest_gap_ms"] == 500.0
    with pytest.raises(EngineError, match="numbers came back"):
        summarise(seen[:5])


def test_growth_and_recovery_are_seen_where_there_are_any() -> None:
    assert growth(_steady(700.0)) == 0.0
    assert growth(_steady(700.0, 60) + _steady(900.0, 30)) == 200.0
    before = _steady(50.0)
    assert recovery(before, _steady(600.0, 10) + _steady(60.0, 30, from_ms=400.0)) == 400.0
    assert recovery(before, _steady(600.0)) is None


def test_ten_minutes_are_reported_one_by_one() -> None:
    assert _minutes(600.0) == [60.0] * 10
    assert _minutes(75.0) == [60.0, 15.0]


def test_weather_loses_its_share_and_delays_the_rest() -> None:
    chance = random.Random(1)
    held = [LinkConditions().hold_s(chance) for _ in range(4000)]
    kept = [seconds for seconds in held if seconds is not None]
    assert 0.04 < 1 - len(kept) / len(held) < 0.06
    assert 0.0 <= min(kept) < 0.01
    assert 0.39 < max(kept) <= 0.4


def test_peers_connect_only_through_the_relay() -> None:
    sdp = "v=0\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\na=candidate:1 1 udp 5 192.0.2.7 4000 typ host\r\na=end-of-candidates\r\n"
    assert _first_candidate(sdp) == ("192.0.2.7", 4000)
    led = _led_to(sdp, ("192.0.2.9", 5000))
    assert led.count("a=candidate:") == 1
    assert _first_candidate(led) == ("192.0.2.9", 5000)
