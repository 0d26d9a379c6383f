"""Requests of lost packets (NACK)."""

from __future__ import annotations

import itertools

import pytest

from mimicam.engine.web.aiortc_patches.jitter_buffer import PATIENCE_S
from mimicam.engine.web.aiortc_patches.nack import ASK_AGAIN_S, REORDER_S, NackGenerator
from tests.web.packets import Clock, frame_packets


def test_a_missing_packet_is_requested_repeatedly_until_timeout() -> None:
    clock = Clock()
    missing = NackGenerator(clock)
    packets = iter(frame_packets(0, 400, 0))
    missing.add(next(packets))
    next(packets)
    asked = []
    for packet in packets:
        if missing.add(packet):
            assert missing.missing == {1}
            asked.append(clock.s - 100.0)
        clock.s += 0.01
    assert asked[0] == pytest.approx(REORDER_S, abs=0.011)
    assert all(b - a >= ASK_AGAIN_S - 1e-6 for a, b in itertools.pairwise(asked))
    assert PATIENCE_S - 0.15 < asked[-1] <= PATIENCE_S


def test_a_reordered_packet_is_not_requested() -> None:
    clock = Clock()
    missing = NackGenerator(clock)
    a, b, c, d = frame_packets(65_534, 4, 0)
    assert not any(missing.add(packet) for packet in (a, c, b))
    clock.s += 1.0
    assert not missing.add(d)
