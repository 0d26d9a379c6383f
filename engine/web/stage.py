"""Where results are shown: the newest one, to each viewer at the viewer's own pace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from mimicam.engine.concurrency.timings import Ring

_CLOCK_HZ = 90_000
_TIME_BASE = Fraction(1, _CLOCK_HZ)
_AGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result, ready to encode."""

    yuv: npt.NDArray[np.uint8]
    """I420, uint8 ``[H * 3 / 2, W]``."""
    captured_ns: int


class Stage:
    """Fans results out. Lives on the event loop; only `publish` may be called from elsewhere."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._viewers: set[ViewerTrack] = set()
        self._newest: Result | None = None
        self.used_s = time.monotonic()
        """When somebody last came or went."""

    def publish(self, result: Result) -> None:
        """Show a result, from any thread. It is not copied: the caller leaves it alone from now on."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(self._show, result)

    def viewer(self) -> ViewerTrack:
        """A new viewer's track; it starts with the newest result."""
        track = ViewerTrack(self._leave)
        self._viewers.add(track)
        self.used_s = time.monotonic()
        if self._newest is not None:
            track.show(self._newest)
        return track

    @property
    def viewers(self) -> int:
        """How many watch, the driver's own page among them."""
        return len(self._viewers)

    def clear(self) -> None:
        """Forget the newest result, so that the next viewer does not begin with an old picture."""
        self._newest = None

    def _show(self, result: Result) -> None:
        self._newest = result
        for viewer in self._viewers:
            viewer.show(result)

    def _leave(self, track: ViewerTrack) -> None:
        self._viewers.discard(track)
        self.used_s = time.monotonic()


class ViewerTrack(MediaStreamTrack):
    """The newest result for one encoder; results that come while it encodes are replaced."""

    kind = "video"

    def __init__(self, on_stop: Callable[[ViewerTrack], None]) -> None:
        super().__init__()
        self._on_stop = on_stop
        self._newest: Result | None = None
        self._wake = asyncio.Event()
        self._last_pts = -1
        self.replaced = 0
        """Results that this viewer did not get because a newer one came first."""
        self.sent = 0
        self.age = Ring(_AGES)
        """Received by the server to handed to the encoder."""

    def show(self, result: Result) -> None:
        """Offer a result."""
        if self._wake.is_set():
            self.replaced += 1
        self._newest = result
        self._wake.set()

    async def recv(self) -> VideoFrame:
        """The newest result that was not sent yet; waits for one."""
        await self._wake.wait()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self._wake.clear()
        result = self._newest
        self.sent += 1
        self.age.add((time.monotonic_ns() - result.captured_ns) / 1e6)
        return self._as_frame(result)

    def stop(self) -> None:
        """Leave the stage."""
        if self.readyState == "live":
            super().stop()
            self._newest = None
            self._wake.set()
            self._on_stop(self)

    def _as_frame(self, result: Result) -> VideoFrame:
        """A frame of its own: an encoder marks key frames on it, which other viewers must not see."""
        frame = VideoFrame.from_ndarray(result.yuv, format="yuv420p")
        pts = result.captured_ns * _CLOCK_HZ // 1_000_000_000
        self._last_pts = max(pts, self._last_pts + 1)  # RTP time must grow, also when a call was replaced
        frame.pts, frame.time_base = self._last_pts & 0x7FFF_FFFF_FFFF, _TIME_BASE
        return frame
