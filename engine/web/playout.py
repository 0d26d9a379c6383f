"""Have browsers show each picture as soon as it is there.

A browser holds pictures back by the jitter it has seen, and forgets jitter by counting pictures: after a minute of bad
network a result may stay a quarter of a second late. ``receiver.jitterBufferTarget = 0`` asks for the least that this rule
gives; the RTP header extension playout-delay with a greatest delay of zero turns the rule off. aiortc does not have it.
https://webrtc.googlesource.com/src/+/main/docs/native-code/rtp-hdrext/playout-delay
"""

from __future__ import annotations

from typing import Any

from aiortc import rtp
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AT_ONCE = b"\0\0\0"
"""Least and greatest delay, twelve bits each, in units of 10 ms."""
_OWN_ID = 14
"""In our own offers; in answers it is the peer's."""


def install() -> None:
    """Send video this way from now on, in this process, to peers that know the extension."""
    if all(known.uri != URI for known in HEADER_EXTENSIONS["video"]):
        HEADER_EXTENSIONS["video"].append(RTCRtpHeaderExtensionParameters(id=_OWN_ID, uri=URI))
    setattr(rtp, "HeaderExtensionsMap", AtOnce)  # noqa: B010 - types do not allow it


class AtOnce(rtp.HeaderExtensionsMap):
    """aiortc's, and a playout delay of zero where it was agreed on."""

    def __init__(self) -> None:
        super().__init__()
        self._id: int | None = None

    def configure(self, parameters: Any) -> None:
        """Note what both sides know."""
        super().configure(parameters)
        self._id = next((known.id for known in parameters.headerExtensions if known.uri == URI), self._id)

    def set(self, values: Any) -> tuple[int, bytes]:
        """A packet's extensions: profile and bytes."""
        profile, packed = super().set(values)
        if self._id is None:
            return profile, packed
        others = rtp.unpack_header_extensions(profile, packed)
        return rtp.pack_header_extensions([*others, (self._id, AT_ONCE)])
