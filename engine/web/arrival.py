"""Hand a camera picture on the moment it can be, and get over packets that come late, out of order or never.

aiortc's own receiver is for good networks: it hands a frame on only when the next one begins (a frame's time late),
asks for a lost packet only when another one is missing, releases one frame for each packet that comes (so that it
never catches up after a pause), starts anew when a packet comes a hundred places late, and waits for a packet that
never comes until 512 others have. Here instead

- a frame goes when every packet up to its RTP marker bit is there (RFC 3550, section 5.1; VP8: RFC 7741, section
  4.1; H.264: RFC 6184, section 5.1), and so do all that waited behind it;
- a missing packet is asked for (RFC 4585, section 6.2.1) after a moment, again and again, and then given up;
- while one blocks the way a key frame is asked for; a complete key frame makes all before it needless;
- if that does not come either, the next whole frame is shown, broken as it may look, and the next key frame mends it;
- where the decoder does not keep up (a machine with too much to do), what waits for it is thrown away and a key frame
  asked for, so that the delay stays small: aiortc's queue in front of it has no end.

This replaces classes that aiortc's receiver makes by name, so it is only done where the receiver is built the way
the one was that was read (versions 1.10 to 1.16).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiortc
from aiortc import rtcrtpreceiver, rtcrtpsender
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtpPacket

_KNOWN = ((1, 10), (1, 16))
"""First and last minor version of aiortc whose receiver is the one this was written for."""
_PARTS = ("jitter_buffer", "nack_generator", "decoder_queue", "timestamp_mapper", "codecs")
HISTORY = 1024
"""Packets a sender keeps for those who ask again: five seconds at 200 a second."""
MAX_UNDECODED = 10
"""Frames that may wait for the decoder: a third of a second."""
MAX_WAITING = 2048
"""Packets that may wait; beyond it is no hole but another stream."""
PATIENCE_S = 1.2
"""For how long a hole may block the way."""
KEY_AFTER_S = 0.4
"""After which time a key frame is asked for; retransmission goes on meanwhile."""
REORDER_S = 0.01
"""A packet that is overtaken by less than this is not asked for."""
ASK_AGAIN_S = 0.1
"""Senders do not repeat themselves within a round trip, so asking often does no harm."""
_VP8_KEY = b"\x9d\x01\x2a"
"""Start code of a VP8 key frame, behind its three-byte tag (RFC 6386, section 9.1)."""
_log = logging.getLogger(__name__)
_handle = RTCRtpReceiver._handle_rtp_packet


def install() -> bool:
    """Receive this way from now on, in this process. False: this aiortc is not known."""
    if not _is_known(aiortc.__version__):
        _log.warning("event=arrival state=plain aiortc=%s", aiortc.__version__)
        return False
    for module, name, value in (
        (rtcrtpreceiver, "JitterBuffer", _buffer), (rtcrtpreceiver, "NackGenerator", MissingPackets),
        (rtcrtpsender, "RTP_HISTORY_SIZE", HISTORY), (RTCRtpReceiver, "_handle_rtp_packet", _handle_packet),
    ):  # fmt: skip
        setattr(module, name, value)
    return True


def _is_known(version: str) -> bool:
    major, minor = (int(part) for part in version.split(".")[:2])
    built = RTCRtpReceiver.__init__.__code__.co_names
    same = all(f"_RTCRtpReceiver__{part}" in built for part in _PARTS)
    return same and _KNOWN[0] <= (major, minor) <= _KNOWN[1]


def _buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> Any:
    return VideoBuffer() if is_video else JitterBuffer(capacity, prefetch=prefetch)


async def _handle_packet(self: Any, packet: RtpPacket, arrival_time_ms: int) -> None:
    """aiortc's method releases one frame at most; here the others go, too."""
    buffer = self._RTCRtpReceiver__jitter_buffer
    if not isinstance(buffer, VideoBuffer):
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
    """Throw away what waits; but None, which ends the decoder, stays."""
    with contextlib.suppress(queue.Empty):
        while True:
            if waiting.get_nowait() is None:
                waiting.put(None)
                return


def _unwrapped(number: int, near: int) -> int:
    """A 16-bit sequence number as the integer next to ``near``."""
    return near + ((number - near + 0x8000) & 0xFFFF) - 0x8000


class VideoBuffer:
    """Puts packets together to frames, in order. What aiortc calls a jitter buffer; `add` is its contract."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._packets: dict[int, Any] = {}
        """`RtpPacket` by unwrapped number; their receiver hangs ``_data`` on them."""
        self._next: int | None = None
        """Where the next frame begins; None before the first packet."""
        self._released = False
        self._blocked_s: float | None = None
        """Since when packets wait behind a hole."""
        self._asked_s = 0.0
        self._broken = False
        """A hole was skipped and no key frame came since."""
        self._only_key = False
        """Frames in between were thrown away: none is of use before the next key frame."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet whose ``_data`` is unpacked.

        Returns:
            Whether to ask for a key frame, and the frame that is ready, if one is; `rest` has those behind it.
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
        """Release nothing before the next key frame, and ask for one."""
        self._only_key = True

    def rest(self) -> Iterator[tuple[JitterFrame, int]]:
        """Frames that are ready as well, with their payload types."""
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
        """Note a packet. False: it comes too late, or again."""
        if self._next is None:
            self._next = packet.sequence_number
        number = _unwrapped(packet.sequence_number, self._next)
        if abs(number - self._next) > MAX_WAITING:  # a sender that began anew
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
        """Forget everything before the frame with this packet, if that is a complete key frame behind a hole."""
        first, stamp = inside, self._packets[inside].timestamp
        while (before := self._packets.get(first - 1)) is not None and before.timestamp == stamp:
            first -= 1
        if first > (self._next or 0) and is_key(self._packets[first]._data) and self._complete(first):
            self._forget_before(first)

    def _skip_hole(self) -> None:
        """Go on at the first whole frame behind the hole. It begins behind a marker, or where the time changes."""
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
        """Once in a while as long as a hole blocks the way, or since one was skipped."""
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


class MissingPackets:
    """Which packets to ask for now. What aiortc calls a NACK generator; `add` and `missing` are its contract."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._newest: int | None = None
        self._holes: dict[int, tuple[float, float]] = {}
        """Number to (noticed, asked last), seconds."""
        self.missing: set[int] = set()
        """To be asked for now."""

    def add(self, packet: RtpPacket) -> bool:
        """Note a packet. True: ask for those in ``missing``."""
        now_s = self._now()
        if self._newest is None:
            self._newest = packet.sequence_number
        number = _unwrapped(packet.sequence_number, self._newest)
        if abs(number - self._newest) > MAX_WAITING:
            self._holes.clear()
            self._newest = number
        self._holes.pop(number, None)
        for hole in range(self._newest + 1, number):
            self._holes[hole] = (now_s, now_s + REORDER_S - ASK_AGAIN_S)
        self._newest = max(self._newest, number)
        return self._collect(now_s)

    def _collect(self, now_s: float) -> bool:
        self._holes = {n: times for n, times in self._holes.items() if now_s - times[0] <= PATIENCE_S}
        due = [n for n, (_, asked_s) in self._holes.items() if now_s - asked_s >= ASK_AGAIN_S]
        for number in due:
            self._holes[number] = (self._holes[number][0], now_s)
        self.missing = {number & 0xFFFF for number in due}
        return bool(due)
