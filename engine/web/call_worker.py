"""The threads of one call: newest camera picture in, newest result out. The event loop only hands over.

While one thread draws a result the other observes the next picture: see `FrameLoop`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mimicam.engine.concurrency.clock import MonotonicClock
from mimicam.engine.concurrency.lookahead import LateLookahead
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.errors import EngineError
from mimicam.engine.frame_loop import FrameLoop
from mimicam.engine.pipeline import LivePath, PipelineStatus
from mimicam.engine.portrait import Portrait
from mimicam.engine.types import Frame, Image
from mimicam.engine.web import timecode
from mimicam.engine.web.badge import BadgePainter
from mimicam.engine.web.protocol import Settings
from mimicam.engine.web.rooms import Room
from mimicam.engine.web.stage import Result

_JOIN_S = 2.0
_RATE_FRAMES = 256
_RATE_SPAN_NS = 2_000_000_000
_Camera = tuple[Any, int]
"""A picture (`av.VideoFrame`) and when it came in, monotonic nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is to be shown, complete: settings and the portrait they name."""

    settings: Settings
    portrait: Portrait


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was seen in one camera picture."""

    what: Any
    """For `FramePath.draw`."""
    number: int | None
    """Painted into it, when frame age is measured."""


class RateMeter:
    """Frames a second over the last two seconds, or between the last two frames when they are rarer. One writer."""

    def __init__(self) -> None:
        self._times = np.zeros(_RATE_FRAMES, np.int64)
        self.count = 0

    def tick(self) -> None:
        """One more frame, now."""
        self._times[self.count % _RATE_FRAMES] = time.monotonic_ns()
        self.count += 1

    def per_s(self) -> float:
        """0 before the second frame, and falling when frames stay away."""
        if self.count < 2:
            return 0.0
        now_ns = time.monotonic_ns()
        times = np.sort(self._times[: min(self.count, _RATE_FRAMES)])
        seen = max(2, int(np.count_nonzero(times > now_ns - _RATE_SPAN_NS)))
        return (seen - 1) * 1e9 / max(now_ns - int(times[-seen]), 1)


class _CallPath:
    """A call's way of a frame, from camera picture to result, always as its driver wants it now.

    One thread calls `lent` and `draw`, another one `observe`. ``wanted`` and ``calibrate`` may be
    set from any thread.
    """

    def __init__(self, room: Room, wanted: Shown) -> None:
        self.wanted = wanted
        self.calibrate = threading.Event()
        self.driver_size = (0, 0)
        self.status: PipelineStatus | None = None
        self._room, self._in_use = room, wanted
        self._badge = BadgePainter()
        self._seq = 0

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Borrow a path from the room, which takes time; give the last one back at the end."""
        self._in_use = self.wanted
        self._path = self._open(self._in_use)
        try:
            yield
        finally:
            self._room.close(self._path)
            # Call, worker and thread refer to each other. Native memory does not make Python's
            # collector hurry, so the networks (35 MB a call) go here.
            del self._path

    def observe(self, camera: _Camera) -> _Seen:
        """Find the driver's face, and the number that is painted in when frame age is measured."""
        picture, captured_ns = camera
        frame = Frame(image=picture.to_ndarray(format="rgb24"), seq=self._seq, captured_ns=captured_ns)
        self._seq += 1
        self.driver_size = (frame.image.shape[1], frame.image.shape[0])
        number = timecode.read(frame.image) if self.wanted.settings.measure else None
        return _Seen(what=self._path.observe(frame), number=number)

    def draw(self, seen: _Seen) -> Result:
        """The result, badge included, ready to encode."""
        self._apply_changes()
        result = self._path.draw(seen.what)
        self._badge(result.image, self._in_use.settings.badge)
        if seen.number is not None:
            timecode.paint(result.image, seen.number)
        self.status = self._path.status
        return Result(yuv=_to_i420(result.image), captured_ns=result.captured_ns)

    def _open(self, shown: Shown) -> LivePath:
        path = self._room.open(shown.portrait, shown.settings.edit(), shown.settings.size())
        path.set_standby(shown.settings.standby)
        self.status = path.status
        return path

    def _apply_changes(self) -> None:
        """Bring the path to what is wanted now; another size needs another path."""
        if self.calibrate.is_set():
            self.calibrate.clear()
            self._path.calibrate()
        old, new = self._in_use, self.wanted
        if new is old:
            return
        self._in_use = new
        if new.settings.size() != old.settings.size():
            # The other thread may still observe through it: that needs none of the room's models.
            self._room.close(self._path)
            self._path = self._open(new)
            return
        if new.portrait is not old.portrait:
            self._path.set_portrait(new.portrait)
        self._path.set_edit(new.settings.edit())
        if new.settings.standby != old.settings.standby:
            self._path.set_standby(new.settings.standby)


class CallWorker:
    """Runs a call's frame path. `put`, `change` and `calibrate` never block and may come from any thread."""

    def __init__(
        self,
        room: Room,
        shown: Shown,
        *,
        publish: Callable[[Result], None],
        on_fail: Callable[[BaseException], None],
    ) -> None:
        """Prepare the threads; `start` runs them.

        Args:
            room: lends the frame path; opened on the drawing thread, since that takes time.
            shown: settings and portrait to begin with.
            publish: gets each result, on the drawing thread.
            on_fail: called once with the error, on the thread that failed.
        """
        self._path, self._publish = _CallPath(room, shown), publish
        self.drops = Drops()
        self.came_in, self.went_out = RateMeter(), RateMeter()
        self._lookahead = LateLookahead(MonotonicClock())
        self._loop: FrameLoop[_Camera, _Seen, Result] = FrameLoop(
            self._path.observe,
            self._path.draw,
            self._hand_out,
            lookahead=self._lookahead,
            drops=self.drops,
            stop=threading.Event(),
            around=self._lent(),
            on_fail=on_fail,
        )

    @property
    def driver_size(self) -> tuple[int, int]:
        """(width, height) of the newest driver picture; zeros before the first."""
        return self._path.driver_size

    @property
    def status(self) -> PipelineStatus | None:
        """The path's, as of the last result; None before the path is open."""
        return self._path.status

    def busy(self) -> float:
        """Share of the time in which the slower thread works, 0 to 1: near 1, more pictures in bring no more out."""
        return self._lookahead.share_at_work(self.went_out.per_s())

    def start(self) -> None:
        """Begin; once."""
        self._loop.start()

    def put(self, picture: Any, captured_ns: int) -> None:
        """Offer a driver picture (`av.VideoFrame`); the newest wins."""
        self.came_in.tick()
        self._loop.put((picture, captured_ns))

    def change(self, shown: Shown) -> None:
        """Show this from the next frame on."""
        self._path.wanted = shown

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        self._path.calibrate.set()

    def close(self) -> None:
        """No more frames; the threads end after those in work."""
        self._loop.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for both threads. False: they still work."""
        drawing, _ = self._loop.workers  # which waits for the other one before it ends
        return drawing.join(timeout_s)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Lend the path until both threads are done with it."""
        with self._path.lent():
            try:
                yield
            finally:
                self._loop.join_observer(_JOIN_S)

    def _hand_out(self, result: Result) -> None:
        self._publish(result)
        self.went_out.tick()


def _to_i420(image: Image) -> Image:
    """RGB ``[H, W, 3]`` with even sides to I420 ``[H * 3 / 2, W]`` (BT.601, limited range, as WebRTC assumes)."""
    if image.shape[0] % 2 or image.shape[1] % 2:
        raise EngineError(f"results must have even sides, got {image.shape[1]}x{image.shape[0]}")
    i420: Image = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    return i420
