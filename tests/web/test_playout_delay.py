"""The RTP header extension playout-delay."""

from __future__ import annotations

from aiortc import rtp
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters

from mimicam.engine.web.aiortc_patches import playout_delay

_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


def _agreed(**known: int) -> RTCRtpParameters:
    uris = {"mid": _MID, "playout": playout_delay.URI}
    extensions = [
        RTCRtpHeaderExtensionParameters(id=number, uri=uris[name]) for name, number in known.items()
    ]
    return RTCRtpParameters(headerExtensions=extensions)


def _sent(parameters: RTCRtpParameters) -> list[tuple[int, bytes]]:
    """Extensions of a packet whose sender was made after `playout_delay.install`."""
    playout_delay.install()
    agreed = rtp.HeaderExtensionsMap()
    agreed.configure(parameters)
    packet = rtp.RtpPacket(payload_type=96, sequence_number=1, timestamp=2)
    packet.extensions.mid = "0"
    data = packet.serialize(agreed)
    return rtp.unpack_header_extensions(0xBEDE, data[16 : 16 + 4 * int.from_bytes(data[14:16], "big")])


def test_a_peer_with_the_extension_gets_zero_delay() -> None:
    assert _sent(_agreed(mid=9, playout=5)) == [(9, b"0"), (5, b"\0\0\0")]


def test_other_peers_get_unchanged_packets() -> None:
    assert _sent(_agreed(mid=9)) == [(9, b"0")]


def test_the_extension_is_offered_for_video_only() -> None:
    playout_delay.install()
    playout_delay.install()
    assert [known.uri for known in HEADER_EXTENSIONS["video"]].count(playout_delay.URI) == 1
    assert playout_delay.URI not in [known.uri for known in HEADER_EXTENSIONS["audio"]]
    numbers = [known.id for known in HEADER_EXTENSIONS["video"]]
    assert len(set(numbers)) == len(numbers)
