"""Hand a video frame on when its last packet is in, not when the next frame begins.

aiortc's jitter buffer waits for the first packet of the following frame, which costs a frame's time (33 ms at
30 Hz). The last packet of a frame carries the RTP marker bit (RFC 3550, section 5.1; for VP8 RFC 7741, section
4.1; for H.264 RFC 6184, section 5.1), so the frame can go as soon as every packet up to it is there. This
replaces a private method of aiortc, so it is only done for versions whose method was read.
"""

from __future__ import annotations

import logging
from typing import Any

import aiortc
import aiortc.jitterbuffer
from aiortc.jitterbuffer import JitterBuffer, JitterFrame

_KNOWN = ((1, 10), (1, 16))
"""First and last minor version of aiortc whose jitter buffer is the one this was written for."""
_log = logging.getLogger(__name__)
_original = JitterBuffer._remove_frame


def install() -> bool:
    """Release video frames at the marker bit from now on, in this process. False: this aiortc is not known."""
    if not _is_known(aiortc.__version__):
        _log.warning("event=early_release state=off aiortc=%s", aiortc.__version__)
        return False
    setattr(JitterBuffer, "_remove_frame", _remove_frame)  # noqa: B010 - types do not allow it, the version does
    return True


def _is_known(version: str) -> bool:
    major, minor = (int(part) for part in version.split(".")[:2])
    return _KNOWN[0] <= (major, minor) <= _KNOWN[1]


def _remove_frame(self: Any, sequence_number: int) -> Any:
    frame = _original(self, sequence_number)
    if frame is not None or not self._is_video:
        return frame
    packets = _complete(self)
    if not packets:
        return None
    self.remove(len(packets))
    return JitterFrame(data=b"".join(p._data for p in packets), timestamp=packets[0].timestamp)


def _complete(buffer: Any) -> list[Any]:
    """The packets of the oldest frame if all up to its marker are there."""
    packets: list[Any] = []
    for count in range(buffer.capacity):
        packet = buffer._packets[(buffer._origin + count) % buffer.capacity]
        if packet is None or (packets and packet.timestamp != packets[0].timestamp):
            return []
        packets.append(packet)
        if packet.marker:
            return packets
    return []
