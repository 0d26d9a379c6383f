"""Release a video frame when its last packet arrives; recover from late and lost packets.

aiortc's jitter buffer is made for good networks:

- it releases a frame when the next one begins, one frame interval late;
- it releases one frame per packet, so it never catches up after a pause;
- it starts again when a packet comes a hundred places late;
- it waits for a lost packet until 512 others have come;
- the queue to the decoder has no limit.

Here instead:

- A frame is released when all packets up to its RTP marker bit are there, with all complete frames
  behind it (RFC 3550, section 5.1; VP8: RFC 7741, section 4.1; H.264: RFC 6184, section 5.1).
- While a hole blocks the way, a key frame is requested. A complete key frame makes all packets
  before it needless.
- If no key frame comes, the hole is skipped. The next complete frame is shown, damaged or not,
  until a key frame repairs it.
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
"""Frames that may wait for the decoder: a third of a second."""
MAX_WAITING = 2048
"""Packets that may wait. A larger step in sequence numbers is another stream, not a hole."""
PATIENCE_S = 1.2
"""Seconds for which a hole may block the way."""
KEY_AFTER_S = 0.4
"""Seconds of blocking after which a key frame is requested; retransmission goes on meanwhile."""
_VP8_KEY = b"\x9d\x01\x2a"
"""Start code of a VP8 key frame, behind its three-byte tag (RFC 6386, section 9.1)."""
_handle = RTCRtpReceiver._handle_rtp_packet


def install() -> None:
    """Use `VideoJitterBuffer` in video receivers that are made from now on."""
    setattr(rtcrtpreceiver, "JitterBuffer", _make_buffer)  # noqa: B010 - types do not allow it
    setattr(RTCRtpReceiver, "_handle_rtp_packet", _handle_packet)  # noqa: B010 - likewise


def _make_buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> Any:
    return VideoJitterBuffer() if is_video else JitterBuffer(capacity, prefetch=prefetch)


async def _handle_packet(self: Any, packet: RtpPacket, arrival_time_ms: int) -> None:
    """Call aiortc's method, which releases one frame at most, then release the others that are complete."""
    buffer = self._RTCRtpReceiver__jitter_buffer
    if not isinstance(buffer, VideoJitterBuffer):
        await _handle(self, packet, arrival_time_ms)
        return
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
    """Drop what waits, except None, which ends the decoder."""
    with contextlib.suppress(queue.Empty):
        while True:
            if waiting.get_nowait() is None:
                waiting.put(None)
                return


def unwrapped(number: int, near: int) -> int:
    """The integer closest to ``near`` that has this 16-bit sequence number."""
    return near + ((number - near + 0x8000) & 0xFFFF) - 0x8000


class VideoJitterBuffer:
    """Assembles packets to frames, in order. `add` is what aiortc calls."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._packets: dict[int, Any] = {}
        """`RtpPacket` by unwrapped number; aiortc's receiver adds ``_data`` to them."""
        self._next: int | None = None
        """Number at which the next frame begins; None before the first packet."""
        self._released = False
        self._blocked_s: float | None = None
        """Time since which packets wait behind a hole."""
        self._asked_s = 0.0
        self._broken = False
        """A hole was skipped and no key frame came since."""
        self._only_key = False
        """Frames were dropped, so none can be decoded before the next key frame."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet whose ``_data`` is unpacked.

        Returns:
            Whether to request a key frame, and the complete frame, if there is one; `rest` has those behind it.
        """
        if not self._place(packet):
            return False, None
        frame = self._take()
        if frame is None and self._is_blocked_for(PATIENCE_S):
            self._skip_hole()
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

    def _place(self, packet: RtpPacket) -> bool:
        """Store a packet. False: it comes too late, or again."""
        if self._next is None:
            self._next = packet.sequence_number
        number = unwrapped(packet.sequence_number, self._next)
        if abs(number - self._next) > MAX_WAITING:  # the sender started again
            self._packets.clear()
            self._next, self._released, self._blocked_s = number, False, None
        if number < self._next:
            if self._released:
                return False
            self._next = number  # the first packets of all may be out of order, too
        self._packets[number] = packet
        if number > self._next:
            self._jump_to_key(number)
        return True

    def _take(self) -> JitterFrame | None:
        """The frame at the head, if it is complete."""
        numbers = self._complete(self._next)
        if not numbers:
            return None
        packets = [self._packets.pop(number) for number in numbers]
        self._next, self._released = numbers[-1] + 1, True
        frame = JitterFrame(data=b"".join(p._data for p in packets), timestamp=packets[0].timestamp)
        self._broken = self._broken and not is_key(frame.data)
        return frame

    def _complete(self, begin: int | None) -> list[int]:
        """Numbers of the packets from ``begin`` to the marker, or none when one lacks."""
        numbers: list[int] = []
        while begin is not None and (packet := self._packets.get(begin + len(numbers))) is not None:
            if numbers and packet.timestamp != self._packets[begin].timestamp:
                return []
            numbers.append(begin + len(numbers))
            if packet.marker:
                return numbers
        return []

    def _jump_to_key(self, inside: int) -> None:
        """Drop everything before the frame with this packet, if that is a complete key frame behind a hole."""
        first, stamp = inside, self._packets[inside].timestamp
        while (before := self._packets.get(first - 1)) is not None and before.timestamp == stamp:
            first -= 1
        if first > (self._next or 0) and is_key(self._packets[first]._data) and self._complete(first):
            self._forget_before(first)

    def _skip_hole(self) -> None:
        """Continue at the first complete frame behind the hole: behind a marker, or where the timestamp changes."""
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
        """Whether to request a key frame now: repeatedly while a hole blocks, or since one was skipped."""
        now_s = self._now()
        blocked = self._blocked_s is not None and now_s - self._blocked_s >= KEY_AFTER_S
        if not (blocked or self._broken or self._only_key) or now_s - self._asked_s < KEY_AFTER_S:
            return False
        self._asked_s = now_s
        return True


def is_key(data: bytes) -> bool:
    """Whether a frame's first packet begins a key frame, VP8 or H.264 (a sequence header or an IDR slice)."""
    if data[:4] == b"\0\0\0\1":
        return len(data) > 4 and data[4] & 0x1F in (5, 7)
    return data[3:6] == _VP8_KEY
