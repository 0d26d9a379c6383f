"""Requests of lost packets (NACK)."""

from __future__ import annotations

import itertools
import random

import pytest
from aiortc.rtp import RtcpRtpfbPacket

from mimicam.engine.web.aiortc_patches.jitter_buffer import PATIENCE_S
from mimicam.engine.web.aiortc_patches.nack import ASK_AGAIN_S, MAX_MISSING, REORDER_S, NackGenerator
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


@pytest.mark.parametrize(("step", "seconds"), [(2, 0.0002), (1000, 0.02)])
def test_requests_are_bounded_and_fit_into_a_packet(step: int, seconds: float) -> None:
    clock, shuffle = Clock(), random.Random(0)
    missing = NackGenerator(clock)
    for n in range(2000):
        (packet,) = frame_packets(n * step + shuffle.randrange(3), 1, 0)
        if missing.add(packet):
            request = RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=sorted(missing.missing))
            assert len(bytes(request)) <= 1200
        assert len(missing._gaps) <= MAX_MISSING
        clock.s += seconds


def test_after_a_long_loss_the_newest_packets_are_requested() -> None:
    clock = Clock()
    missing = NackGenerator(clock)
    first, last = frame_packets(0, 1, 0) + frame_packets(1000, 1, 1)
    missing.add(first)
    missing.add(last)
    clock.s += 2 * REORDER_S
    missing.add(frame_packets(1001, 1, 1)[0])
    assert missing.missing == set(range(1000 - MAX_MISSING, 1000))
