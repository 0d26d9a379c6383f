"""Streams that one connection may begin."""

from __future__ import annotations

from aiortc.rtcdtlstransport import RtpRouter
from aiortc.rtp import RtpPacket

from mimicam.engine.web import aiortc_patches
from mimicam.engine.web.aiortc_patches.ssrc_limit import MAX_STREAMS

_VP8 = 97


class _Receiver:
    """Stands for a receiver. The router only compares it."""


def _packet(ssrc: int) -> RtpPacket:
    return RtpPacket(payload_type=_VP8, ssrc=ssrc)


def test_a_flood_of_streams_is_dropped_and_the_first_go_on() -> None:
    aiortc_patches.install()
    router, camera = RtpRouter(), _Receiver()
    router.register_receiver(camera, ssrcs=[1], payload_types=[_VP8], mid="0")
    taken = [ssrc for ssrc in range(1, 1000) if router.route_rtp(_packet(ssrc)) is camera]
    assert taken == list(range(1, MAX_STREAMS + 1))
    assert len(router.ssrc_table) == MAX_STREAMS
    assert router.route_rtp(_packet(1)) is camera


def test_a_stream_that_the_offer_names_is_taken_after_a_flood() -> None:
    aiortc_patches.install()
    router, camera = RtpRouter(), _Receiver()
    router.register_receiver(camera, ssrcs=[5000, 5001], payload_types=[_VP8], mid="0")
    for ssrc in range(1, 100):
        router.route_rtp(_packet(ssrc))
    assert router.route_rtp(_packet(5001)) is camera
