"""Let browsers show each picture as soon as it arrives.

A browser delays pictures by its estimate of the jitter, which decays slowly. After a minute of bad
network a result may stay a quarter of a second late. ``receiver.jitterBufferTarget = 0`` requests
the smallest delay that this rule allows. The RTP header extension playout-delay with a maximum of
zero disables the rule. aiortc lacks the extension. Here it is offered, and sent to peers that
accept it.
https://webrtc.googlesource.com/src/+/main/docs/native-code/rtp-hdrext/playout-delay
"""

from __future__ import annotations

from typing import Any

from aiortc import rtp
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
_NO_DELAY = b"\0\0\0"
"""Minimum and maximum delay, twelve bits each, in units of 10 ms."""
_OWN_ID = 14
"""Number of the extension in our own offers. Answers use the peer's number."""


def install() -> None:
    """Offer the extension for video, and send it to peers that accept it."""
    # A process may install this twice, and an extension must be offered once.
    if all(known.uri != URI for known in HEADER_EXTENSIONS["video"]):
        HEADER_EXTENSIONS["video"].append(RTCRtpHeaderExtensionParameters(id=_OWN_ID, uri=URI))
    setattr(rtp, "HeaderExtensionsMap", ZeroPlayoutDelay)  # noqa: B010 - types do not allow it


class ZeroPlayoutDelay(rtp.HeaderExtensionsMap):
    """aiortc's header extensions, with a playout delay of zero where the peer accepted it."""

    def __init__(self) -> None:
        super().__init__()
        self._id: int | None = None

    def configure(self, parameters: Any) -> None:
        """Store the numbers of the extensions that both sides support."""
        super().configure(parameters)
        self._id = next((known.id for known in parameters.headerExtensions if known.uri == URI), self._id)

    def set(self, values: Any) -> tuple[int, bytes]:
        """Pack a packet's extensions: profile and bytes."""
        profile, packed = super().set(values)
        if self._id is None:
            return profile, packed
        others = rtp.unpack_header_extensions(profile, packed)
        return rtp.pack_header_extensions([*others, (self._id, _NO_DELAY)])
