"""Browsers are told to hold no picture back."""

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
    """What a packet carries whose sender was set up after `playout_delay.install`."""
    playout_delay.install()
    agreed = rtp.HeaderExtensionsMap()
    agreed.configure(parameters)
    packet = rtp.RtpPacket(payload_type=96, sequence_number=1, timestamp=2)
    packet.extensions.mid = "0"
    data = packet.serialize(agreed)
    return rtp.unpack_header_extensions(0xBEDE, data[16 : 16 + 4 * int.from_bytes(data[14:16], "big")])


def test_a_peer_that_knows_it_is_told_to_show_pictures_at_once() -> None:
    assert _sent(_agreed(mid=9, playout=5)) == [(9, b"0"), (5, b"\0\0\0")]


def test_others_get_what_they_got() -> None:
    assert _sent(_agreed(mid=9)) == [(9, b"0")]


def test_it_is_offered_once_for_pictures_and_never_for_sound() -> None:
    playout_delay.install()
    playout_delay.install()
    assert [known.uri for known in HEADER_EXTENSIONS["video"]].count(playout_delay.URI) == 1
    assert playout_delay.URI not in [known.uri for known in HEADER_EXTENSIONS["audio"]]
    numbers = [known.id for known in HEADER_EXTENSIONS["video"]]
    assert len(set(numbers)) == len(numbers)
