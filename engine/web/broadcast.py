"""Sends the newest result to every viewer, at each viewer's own rate."""

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
    """A result in the format that encoders take."""

    yuv: npt.NDArray[np.uint8]
    """I420, uint8 ``[H * 3 / 2, W]``."""
    captured_ns: int


class ResultBroadcast:
    """Sends results to viewers. Belongs to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._viewers: set[ResultTrack] = set()
        self._newest: Result | None = None
        self.used_s = time.monotonic()
        """Time at which a viewer last joined or left."""

    def source(self) -> ResultSource:
        """Make a source of results, for one call or program. End it before the next one begins."""
        return ResultSource(self._loop, self._show)

    def viewer(self) -> ResultTrack:
        """Add a viewer. Its track starts with the newest result."""
        track = ResultTrack(self._leave)
        self._viewers.add(track)
        self.used_s = time.monotonic()
        if self._newest is not None:
            track.show(self._newest)
        return track

    @property
    def viewers(self) -> int:
        """Number of viewers, the driver's own page among them."""
        return len(self._viewers)

    def _show(self, result: Result | None) -> None:
        """Send a result. None: forget the newest one, so that the next viewer does not begin with an
        old picture."""
        self._newest = result
        if result is None:
            return
        # Each viewer keeps the newest only: a slow one skips results instead of queuing them.
        for viewer in self._viewers:
            viewer.show(result)

    def _leave(self, track: ResultTrack) -> None:
        self._viewers.discard(track)
        self.used_s = time.monotonic()


class ResultSource:
    """Results of one call or program. `publish` is thread-safe. `end` is for the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, show: Callable[[Result | None], None]) -> None:
        self._loop, self._show = loop, show
        self._ended = False

    def publish(self, result: Result) -> None:
        """Send a result, from any thread. It is not copied, so the caller must not change it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it all viewers
            # Viewers' tracks belong to the event loop, and asyncio is not thread-safe.
            self._loop.call_soon_threadsafe(self._publish, result)

    def end(self) -> None:
        """Ignore further results, and let the broadcast forget the newest one."""
        self._ended = True
        self._show(None)

    def _publish(self, result: Result) -> None:
        # Read here, on the event loop: a result that is drawn while its call ends comes later, and
        # the broadcast outlives the call.
        if not self._ended:
            self._show(result)


class ResultTrack(MediaStreamTrack):
    """Video track of one viewer. Results that arrive while it encodes replace each other."""

    kind = "video"

    def __init__(self, on_stop: Callable[[ResultTrack], None]) -> None:
        super().__init__()
        self._on_stop = on_stop
        self._newest: Result | None = None
        self._wake = asyncio.Event()
        self._last_pts = -1
        self.age = Ring(_AGES)
        """Milliseconds from reception by the server to the encoder."""

    def show(self, result: Result) -> None:
        """Offer a result to the encoder."""
        self._newest = result
        self._wake.set()

    async def recv(self) -> VideoFrame:
        """Wait for a result that was not sent yet, and return it."""
        await self._wake.wait()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self._wake.clear()
        result = self._newest
        self.age.add((time.monotonic_ns() - result.captured_ns) / 1e6)
        return self._as_frame(result)

    def stop(self) -> None:
        """End the track and leave the broadcast."""
        if self.readyState == "live":
            super().stop()
            # Wakes `recv`, which then ends the encoder.
            self._newest = None
            self._wake.set()
            self._on_stop(self)

    def _as_frame(self, result: Result) -> VideoFrame:
        """Make a frame for this viewer alone, since encoders mark key frames on it."""
        frame = VideoFrame.from_ndarray(result.yuv, format="yuv420p")
        pts = result.captured_ns * _CLOCK_HZ // 1_000_000_000
        self._last_pts = max(
            pts, self._last_pts + 1
        )  # RTP time must increase, also when a new call continues
        frame.pts, frame.time_base = self._last_pts & 0x7FFF_FFFF_FFFF, _TIME_BASE
        return frame
