"""One driver's two threads: newest camera picture in, newest result out. The event loop only hands over.

While one thread draws a result the other looks at the next picture, as in `engine.session`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from engine.errors import EngineError
from engine.pipeline import PipelineStatus
from engine.portrait import Portrait
from engine.runtime.clock import MonotonicClock
from engine.runtime.mailbox import Closed, Drops, LatestSlot
from engine.runtime.pace import Pace
from engine.runtime.threads import Worker
from engine.types import Frame, Image
from engine.web import timecode
from engine.web.badge import BadgePainter
from engine.web.protocol import Settings
from engine.web.rooms import FramePath, Room
from engine.web.stage import Result

_JOIN_S = 2.0
_RATE_FRAMES = 256
_RATE_SPAN_NS = 2_000_000_000


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


class LatePace(Pace):
    """Looks as late as it can without making the drawing wait often.

    Encoder and browser share the cores here, so that looking beside the whole drawing slows both. Two cores with a
    browser on them, loopback of 30 s: 25.8 pictures/s and a p50 of 104 ms; with `Pace` 28.0 and 117 ms; with one
    thread for both 23.4 and 91 ms (2026-11, runs minutes apart on a machine whose speed varies).
    """

    def spare_ns(self) -> int:
        """See `Pace`; by medians."""
        drawings, looks = sorted(self.drawing.lasted_ns), sorted(self.looking.lasted_ns)
        if not drawings or not looks:
            return 0
        return max(0, drawings[len(drawings) // 2] - looks[len(looks) // 2])


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


class Animator:
    """Owns a frame path. `put`, `change` and `calibrate` never block and may come from any thread."""

    def __init__(
        self,
        room: Room,
        shown: Shown,
        *,
        publish: Callable[[Result], None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """Prepare the thread; `start` runs it.

        Args:
            room: lends the frame path; opened on the thread, since that takes time.
            shown: what to begin with.
            publish: gets each result, on the thread.
            on_end: told once when the thread ends, with the error that ended it or None.
        """
        self._room, self._shown, self._publish = room, shown, publish
        self.drops = Drops()
        self.came_in, self.went_out = RateMeter(), RateMeter()
        self.driver_size = (0, 0)
        self.status: PipelineStatus | None = None
        self._slot: LatestSlot[tuple[Any, int]] = LatestSlot(self.drops, "inference")
        self._seen: LatestSlot[_Seen] = LatestSlot(self.drops, "stopped")
        self._pace = LatePace(MonotonicClock())
        self._stop = threading.Event()
        self._calibrate = threading.Event()
        self._badge = BadgePainter()
        self._looker = Worker("looking", self._look, on_end=self._seen.close)
        self._worker = Worker("animator", self._draw, on_end=lambda: on_end(self._worker.error))

    def busy(self) -> float:
        """Share of the time in which the slower thread works, 0 to 1: near 1, more pictures in bring no more out."""
        return self._pace.share_at_work(self.went_out.per_s())

    def start(self) -> None:
        """Begin; once."""
        self._worker.start()

    def put(self, picture: Any, captured_ns: int) -> None:
        """Offer a driver picture (`av.VideoFrame`); the newest wins."""
        self.came_in.tick()
        self._slot.put((picture, captured_ns))

    def change(self, shown: Shown) -> None:
        """Show this from the next frame on."""
        self._shown = shown

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        self._calibrate.set()

    def close(self) -> None:
        """No more frames; the threads end after those in work."""
        self._stop.set()
        self._slot.close()
        self._seen.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for both threads. False: they still work."""
        return self._worker.join(timeout_s)

    def _draw(self) -> None:
        """Owns the path; the other thread only looks through it."""
        shown = self._shown
        self._path = self._open(shown)
        self._looker.start()
        try:
            while (seen := self._seen.take()) is not None:
                shown = self._apply(shown, self._shown)
                with self._pace.drawing:
                    self._publish(self._result(seen, shown.settings))
                self.went_out.tick()
        except Closed:
            self._looker.raise_error()
        finally:
            self.close()
            self._looker.join(_JOIN_S)
            self._room.close(self._path)
            # Call, animator and thread refer to each other. Native memory does not make Python's collector hurry, so the
            # networks (35 MB a call) go here.
            del self._path

    def _look(self) -> None:
        """One frame ahead of the drawing, never two."""
        seq = 0
        try:
            while True:
                self._seen.wait_until_taken()
                self._pace.wait_to_look(self._stop)
                item = self._slot.take()
                if item is not None:
                    with self._pace.looking:
                        self._seen.put(self._look_at(_driver_frame(item[0], seq, item[1])))
                    seq += 1
        except Closed:
            return

    def _look_at(self, frame: Frame) -> _Seen:
        self.driver_size = (frame.image.shape[1], frame.image.shape[0])
        number = timecode.read(frame.image) if self._shown.settings.measure else None
        return _Seen(what=self._path.look(frame), number=number)

    def _open(self, shown: Shown) -> FramePath:
        path = self._room.open(shown.portrait, shown.settings.edit(), shown.settings.size())
        path.set_standby(shown.settings.standby)
        self.status = path.status
        return path

    def _apply(self, old: Shown, new: Shown) -> Shown:
        """Bring the path to what is wanted now; another size needs another path."""
        path = self._path
        if self._calibrate.is_set():
            self._calibrate.clear()
            path.calibrate()
        if new is old:
            return new
        if new.settings.size() != old.settings.size():
            self._room.close(
                path
            )  # the other thread may still look through it: that needs none of the room's models
            self._path = self._open(new)
            return new
        if new.portrait is not old.portrait:
            path.set_portrait(new.portrait)
        path.set_edit(new.settings.edit())
        if new.settings.standby != old.settings.standby:
            path.set_standby(new.settings.standby)
        return new

    def _result(self, seen: _Seen, settings: Settings) -> Result:
        result = self._path.draw(seen.what)
        self._badge(result.image, settings.badge)
        if seen.number is not None:
            timecode.paint(result.image, seen.number)
        self.status = self._path.status
        return Result(yuv=_to_i420(result.image), captured_ns=result.captured_ns)


def _driver_frame(picture: Any, seq: int, captured_ns: int) -> Frame:
    return Frame(image=picture.to_ndarray(format="rgb24"), seq=seq, captured_ns=captured_ns)


def _to_i420(image: Image) -> Image:
    """RGB ``[H, W, 3]`` with even sides to I420 ``[H * 3 / 2, W]`` (BT.601, limited range, as WebRTC assumes)."""
    if image.shape[0] % 2 or image.shape[1] % 2:
        raise EngineError(f"results must have even sides, got {image.shape[1]}x{image.shape[0]}")
    i420: Image = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    return i420
