"""Installing the patches of aiortc. Those of the receiver need a known version."""

from __future__ import annotations

import logging

import pytest
from aioice.ice import StunProtocol
from aiortc import rtcrtpreceiver, rtcrtpsender, rtp
from aiortc.codecs import get_decoder, h264, vpx
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate, RtpRouter
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from OpenSSL import SSL

from mimicam.engine.web import aiortc_patches
from mimicam.engine.web.aiortc_patches import jitter_buffer, nack, playout_delay, rsa, ssrc_limit, udp_drain
from mimicam.engine.web.aiortc_patches.jitter_buffer import VideoJitterBuffer

_AIORTC_NACK = "the generator that aiortc would have used"
_PATCHED = (
    (rtcrtpreceiver, "JitterBuffer", JitterBuffer),
    (rtcrtpreceiver, "NackGenerator", _AIORTC_NACK),
    (rtcrtpsender, "RTP_HISTORY_SIZE", rtp.RTP_HISTORY_SIZE),
    (RTCRtpReceiver, "_handle_rtp_packet", jitter_buffer._handle),
    (rtcrtpreceiver, "get_decoder", get_decoder),
    (StunProtocol, "datagram_received", udp_drain._datagram_received),
    (vpx, "MAX_BITRATE", 1_500_000),
    (h264, "MIN_BITRATE", 500_000),
    (rtp, "HeaderExtensionsMap", playout_delay.ZeroPlayoutDelay.__base__),
    (RTCCertificate, "_create_ssl_context", rsa._create_ssl_context),
    (RtpRouter, "route_rtp", ssrc_limit._route_rtp),
)
"""Patched attributes with their original values. The first five belong to the receiver."""


@pytest.fixture(autouse=True)
def plain_aiortc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the patches from aiortc for one test."""
    for place, name, value in _PATCHED:
        monkeypatch.setattr(place, name, value)


def _changed() -> list[str]:
    return [name for place, name, value in _PATCHED if getattr(place, name) is not value]


def test_a_known_aiortc_gets_all_patches_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert aiortc_patches.install()
    assert _changed() == [name for _, name, _ in _PATCHED]
    assert rtcrtpreceiver.NackGenerator is nack.NackGenerator
    assert rtp.HeaderExtensionsMap is playout_delay.ZeroPlayoutDelay
    assert isinstance(rtcrtpreceiver.JitterBuffer(512, is_video=True), VideoJitterBuffer)
    assert isinstance(rtcrtpreceiver.JitterBuffer(16, prefetch=4), JitterBuffer), "sound keeps aiortc's"
    assert not caplog.records


@pytest.mark.parametrize("version", ["1.9.0", "1.17.0", "2.0.0"])
def test_the_receiver_of_an_unknown_aiortc_is_left_alone(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiortc.__version__", version)
    with caplog.at_level(logging.WARNING):
        assert not aiortc_patches.install()
    assert _changed() == [name for _, name, _ in _PATCHED[5:]], "the others need no version"
    assert caplog.messages == [
        "event=aiortc_patches_skipped reason=unknown_aiortc_version "
        f"aiortc={version} patches=jitter_buffer,nack,picture_limits"
    ]


def test_a_receiver_built_otherwise_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def other(self: RTCRtpReceiver, *_: object) -> None:
        self._enabled = True

    monkeypatch.setattr(RTCRtpReceiver, "__init__", other)
    assert not aiortc_patches.install()


def test_both_codecs_get_the_same_bitrates() -> None:
    aiortc_patches.install()
    for codec in (vpx, h264):
        rates = (codec.MIN_BITRATE, codec.DEFAULT_BITRATE, codec.MAX_BITRATE)
        assert rates == (300_000, 1_200_000, 3_000_000)


def test_ciphers_for_rsa_are_offered_beside_those_for_ecdsa() -> None:
    aiortc_patches.install()
    context = RTCCertificate.generateCertificate()._create_ssl_context(srtp_profiles=SRTP_PROFILES)
    offered = SSL.Connection(context, None).get_cipher_list()
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA"):
        assert f"ECDHE-ECDSA-{cipher}" in offered
        assert f"ECDHE-RSA-{cipher}" in offered
