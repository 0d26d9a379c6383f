"""Request a lost packet until it arrives or is given up (RFC 4585, section 6.2.1).

aiortc requests missing packets only when it detects a further one. A lost NACK or retransmission
is never repeated. Its sender keeps 128 packets for retransmission.

Here a packet is requested after 10 ms, since it may only be reordered. The request is repeated as
long as `VideoJitterBuffer` waits for the packet. The sender keeps more packets.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiortc import rtcrtpreceiver, rtcrtpsender
from aiortc.rtp import RtpPacket

from mimicam.engine.web.aiortc_patches.jitter_buffer import MAX_WAITING, PATIENCE_S, unwrapped

HISTORY = 1024
"""Packets that a sender keeps for retransmission: five seconds at 200 a second."""
REORDER_S = 0.01
"""Seconds before the first request. Packets reordered by less are not requested."""
ASK_AGAIN_S = 0.1
"""Seconds between requests. Senders repeat a packet once per round trip at most."""
MAX_MISSING = 256
"""Packets that are requested at a time: more than a second's at 200 a second. One RTCP packet holds
them, whatever their order."""


def install() -> None:
    """Use `NackGenerator` in receivers, and `HISTORY` in senders, that are made from now on."""
    setattr(rtcrtpreceiver, "NackGenerator", NackGenerator)  # noqa: B010 - types do not allow it
    setattr(rtcrtpsender, "RTP_HISTORY_SIZE", HISTORY)  # noqa: B010 - likewise


class NackGenerator:
    """Selects the packets to request now. `add` and `missing` are what aiortc uses."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._newest: int | None = None
        self._gaps: dict[int, tuple[float, float]] = {}
        """Number to (noticed, last requested), seconds."""
        self.missing: set[int] = set()
        """Numbers to request now."""

    def add(self, packet: RtpPacket) -> bool:
        """Register a packet. Returns whether to request those in ``missing``."""
        now_s = self._now()
        if self._newest is None:
            self._newest = packet.sequence_number
        number = unwrapped(packet.sequence_number, self._newest)
        if abs(number - self._newest) > MAX_WAITING:
            self._gaps.clear()
            self._newest = number
        # A late or retransmitted packet fills its gap.
        self._gaps.pop(number, None)
        for gap in range(max(self._newest + 1, number - MAX_MISSING), number):
            # The first request is due after REORDER_S, the others after ASK_AGAIN_S each.
            self._gaps[gap] = (now_s, now_s + REORDER_S - ASK_AGAIN_S)
        while len(self._gaps) > MAX_MISSING:  # the oldest first, which a key frame replaces
            del self._gaps[next(iter(self._gaps))]
        self._newest = max(self._newest, number)
        return self._collect(now_s)

    def _collect(self, now_s: float) -> bool:
        self._gaps = {n: times for n, times in self._gaps.items() if now_s - times[0] <= PATIENCE_S}
        due = [n for n, (_, asked_s) in self._gaps.items() if now_s - asked_s >= ASK_AGAIN_S]
        for number in due:
            self._gaps[number] = (self._gaps[number][0], now_s)
        self.missing = {number & 0xFFFF for number in due}
        return bool(due)
