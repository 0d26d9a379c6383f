"""Accept few streams (SSRCs) on a connection.

aiortc accepts each new SSRC with a known payload type, and keeps statistics of it until the
connection ends: 0.4 kB for one packet (2026-11). Its reports name all of them. With 32 streams
they are malformed, with 256 they end.

Here the packets of further streams are dropped. A browser uses two for a camera: pictures, and
those sent again.
"""

from __future__ import annotations

from typing import Any

from aiortc.rtcdtlstransport import RtpRouter
from aiortc.rtp import RtpPacket

MAX_STREAMS = 16
"""Streams of a connection. A browser that begins a stream anew takes another one."""
_route_rtp = RtpRouter.route_rtp


def install() -> None:
    """Use this in all connections."""
    setattr(RtpRouter, "route_rtp", _route)  # noqa: B010 - types do not allow it


def _route(self: Any, packet: RtpPacket) -> Any:
    known = packet.ssrc in self.ssrc_table
    return _route_rtp(self, packet) if known or len(self.ssrc_table) < MAX_STREAMS else None
