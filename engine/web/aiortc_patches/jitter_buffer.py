"""Release a video frame when its last packet arrives. Recover from late and lost packets.

aiortc's jitter buffer is made for good networks.

- It releases a frame when the next one begins, one frame interval late.
- It releases one frame per packet, so it never catches up after a pause.
- It resets when a packet arrives a hundred places late.
- It waits for a lost packet until 512 others have arrived.
- The queue to the decoder has no limit.

Here instead:

- A frame is released when all packets up to its RTP marker bit have arrived, with all complete
  frames after it. See RFC 3550, section 5.1, for VP8 RFC 7741, 4.1, for H.264 RFC 6184, 5.1.
- While a gap blocks the output, a key frame is requested. A complete key frame makes all packets
  before it obsolete.
- If no key frame arrives, the gap is skipped. Frames are shown with artefacts until a key frame
  repairs them.
- If the decoder is too slow, its queue is emptied and a key frame is requested.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from aiortc import rtcrtpreceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtpPacket

MAX_UNDECODED = 10
"""Frames that may wait for the decoder, a third of a second."""
MAX_WAITING = 2048
"""Packets that may wait. A larger step in sequence numbers is a new stream, not a gap."""
MAX_EARLY = 256
"""Places by which packets may be out of order before the first frame is released."""
MAX_PACKET = 9000
"""Bytes of a packet, those of a jumbo frame: browsers send 1200. Larger ones are ignored, so that
``MAX_WAITING`` bounds the memory as well."""
PATIENCE_S = 1.2
"""Seconds for which a gap may block the output."""
KEY_AFTER_S = 0.4
"""Seconds of blocking after which a key frame is requested. NACKs continue meanwhile."""
VP8_KEY = b"\x9d\x01\x2a"
"""Start code of a VP8 key frame, behind its three-byte tag (RFC 6386, section 9.1)."""
_handle = RTCRtpReceiver._handle_rtp_packet


def install() -> None:
    """Use `VideoJitterBuffer` in video receivers that are made from now on."""
    setattr(rtcrtpreceiver, "JitterBuffer", _make_buffer)  # noqa: B010 - types do not allow it
    setattr(RTCRtpReceiver, "_handle_rtp_packet", _handle_packet)  # noqa: B010 - likewise


def _make_buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> Any:
    return VideoJitterBuffer() if is_video else JitterBuffer(capacity, prefetch=prefetch)


async def _handle_packet(self: Any, packet: RtpPacket, arrival_time_ms: int) -> None:
    """Call aiortc's method, which releases one frame at most, then release the other frames."""
    buffer = self._RTCRtpReceiver__jitter_buffer
    if not isinstance(buffer, VideoJitterBuffer):
        await _handle(self, packet, arrival_time_ms)
        return
    # Frames between would reference dropped ones, so the decoder continues at a key frame.
    if self._RTCRtpReceiver__decoder_queue.qsize() > MAX_UNDECODED:
        _empty(self._RTCRtpReceiver__decoder_queue)
        buffer.begin_anew()
    await _handle(self, packet, arrival_time_ms)
    for frame, payload_type in buffer.rest():
        codec = self._RTCRtpReceiver__codecs.get(payload_type)
        if codec is not None:
            frame.timestamp = self._RTCRtpReceiver__timestamp_mapper.map(frame.timestamp)
            self._RTCRtpReceiver__decoder_queue.put((codec, frame))


def _empty(waiting: queue.Queue[Any]) -> None:
    """Drop all waiting frames. None stays, since it ends the decoder thread."""
    with contextlib.suppress(queue.Empty):
        while True:
            if waiting.get_nowait() is None:
                waiting.put(None)
                return


def unwrapped(number: int, near: int) -> int:
    """The integer closest to ``near`` that has this 16-bit sequence number."""
    # The difference modulo 2^16 is mapped to -2^15..2^15-1 (RFC 3550, appendix A.1).
    return near + ((number - near + 0x8000) & 0xFFFF) - 0x8000


class VideoJitterBuffer:
    """Assembles packets to frames, in order. `add` is what aiortc calls."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._packets: dict[int, Any] = {}
        """`RtpPacket` by unwrapped number. aiortc's receiver adds ``_data`` to them."""
        self._next: int | None = None
        """Number at which the next frame begins. None: no packet has arrived yet."""
        self._newest = 0
        """Highest number of the stream."""
        self._released = False
        self._blocked_s: float | None = None
        """Time since which packets wait behind a gap."""
        self._asked_s = 0.0
        self._broken = False
        """Whether a gap was skipped and no key frame has arrived since."""
        self._only_key = False
        """Whether frames were dropped, so that none can be decoded before the next key frame."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet whose ``_data`` is unpacked.

        Returns:
            Whether to request a key frame, and the next complete frame, if there is one. `rest`
            yields those after it.
        """
        number = self._place(packet)
        if number is None:
            return False, None
        # The newest packet of an unfinished frame completes nothing, so the frame is not searched.
        may_complete = bool(packet.marker) or number < self._newest
        if may_complete and number > (self._next or 0):  # there is a gap, or the packets are reordered
            self._jump_to_key(number)
        frame = self._take() if may_complete else None
        # Any frame is then better than none, since a key frame was requested long ago.
        if frame is None and self._is_blocked_for(PATIENCE_S):
            self._skip_gap()
            frame = self._take()
        if frame is not None:
            self._blocked_s = None
        return self._wants_key(), frame if self._is_wanted(frame) else None

    def begin_anew(self) -> None:
        """Release nothing before the next key frame, and request one."""
        self._only_key = True

    def rest(self) -> Iterator[tuple[JitterFrame, int]]:
        """Yield the other complete frames, with their payload types."""
        while self._next in self._packets:
            payload_type = self._packets[self._next].payload_type
            frame = self._take()
            if frame is None:
                return
            if self._is_wanted(frame):
                yield frame, payload_type

    def _is_wanted(self, frame: JitterFrame | None) -> bool:
        self._only_key = self._only_key and not (frame is not None and is_key(frame.data))
        return not self._only_key

    def _place(self, packet: RtpPacket) -> int | None:
        """Store a packet and return its number. None: it is too late or too large."""
        if len(packet._data) > MAX_PACKET:  # type: ignore[attr-defined]
            return None
        if self._next is None:
            self._next = self._newest = packet.sequence_number
        number = unwrapped(packet.sequence_number, self._next)
        if abs(number - self._next) > MAX_WAITING:  # a new stream
            self._packets.clear()
            self._next, self._released, self._blocked_s = number, False, None
            self._newest = number
        self._newest = max(self._newest, number)
        if number < self._next:
            # The very first packets may be out of order, too. Numbers that fall for ever are not.
            if self._released or self._newest - number > MAX_EARLY:
                return None
            self._next = number
        self._packets[number] = packet
        return number

    def _take(self) -> JitterFrame | None:
        """Remove and return the next frame, if it is complete."""
        numbers = self._complete(self._next)
        if not numbers:
            return None
        packets = [self._packets.pop(number) for number in numbers]
        self._next, self._released = numbers[-1] + 1, True
        frame = JitterFrame(data=b"".join(p._data for p in packets), timestamp=packets[0].timestamp)
        self._broken = self._broken and not is_key(frame.data)
        return frame

    def _complete(self, begin: int | None) -> list[int]:
        """Numbers of the packets from ``begin`` to the marker. Empty: a packet is missing."""
        numbers: list[int] = []
        while begin is not None and (packet := self._packets.get(begin + len(numbers))) is not None:
            if numbers and packet.timestamp != self._packets[begin].timestamp:
                return []
            numbers.append(begin + len(numbers))
            if packet.marker:
                return numbers
        return []

    def _jump_to_key(self, inside: int) -> None:
        """Drop the packets before this packet's frame, if that is a complete key frame."""
        # All packets of a frame share one RTP timestamp (RFC 3550, section 5.1).
        first, stamp = inside, self._packets[inside].timestamp
        while (before := self._packets.get(first - 1)) is not None and before.timestamp == stamp:
            first -= 1
        if first > (self._next or 0) and is_key(self._packets[first]._data) and self._complete(first):
            self._forget_before(first)

    def _skip_gap(self) -> None:
        """Continue at the first complete frame after the gap.

        A frame begins after a marker, or where the timestamp changes.
        """
        for number in sorted(self._packets):
            before = self._packets.get(number - 1)
            begins = before is not None and (
                before.marker or before.timestamp != self._packets[number].timestamp
            )
            if begins and self._complete(number):
                self._forget_before(number)
                self._broken = True
                return

    def _forget_before(self, number: int) -> None:
        self._packets = {n: packet for n, packet in self._packets.items() if n >= number}
        self._next, self._released = number, True

    def _is_blocked_for(self, seconds: float) -> bool:
        if self._blocked_s is None:
            self._blocked_s = self._now()
        return self._now() - self._blocked_s > seconds

    def _wants_key(self) -> bool:
        """Whether to request a key frame now, which is repeated until one arrives."""
        now_s = self._now()
        blocked = self._blocked_s is not None and now_s - self._blocked_s >= KEY_AFTER_S
        if not (blocked or self._broken or self._only_key) or now_s - self._asked_s < KEY_AFTER_S:
            return False
        self._asked_s = now_s
        return True


def is_key(data: bytes) -> bool:
    """Whether a frame is a key frame, in VP8 or H.264 (sequence header or IDR slice)."""
    if data[:4] == b"\0\0\0\1":  # Annex B start code, only in H.264
        return len(data) > 4 and data[4] & 0x1F in (5, 7)
    return data[3:6] == VP8_KEY
