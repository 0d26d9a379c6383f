"""RTP packets and a clock for tests of the receiver."""

from __future__ import annotations

from aiortc.rtp import RtpPacket

KEY = b"\0\0\0\x9d\x01\x2a"
DELTA = b"\x01\0\0\0\0\0"


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def frame_packets(first: int, count: int, stamp: int, data: bytes = DELTA) -> list[RtpPacket]:
    packets = []
    for k in range(count):
        packet = RtpPacket(sequence_number=(first + k) & 0xFFFF, timestamp=stamp, marker=int(k == count - 1))
        packet._data = data if k == 0 else b"."  # type: ignore[attr-defined]
        packets.append(packet)
    return packets
