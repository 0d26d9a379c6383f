"""One driver's thread: newest camera picture in, newest result out. The event loop only hands over."""

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
from engine.runtime.mailbox import Closed, Drops, LatestSlot
from engine.runtime.threads import Worker
from engine.types import Frame, Image
from engine.web import timecode
from engine.web.badge import BadgePainter
from engine.web.protocol import Settings
from engine.web.rooms import FramePath, Room
from engine.web.stage import Result

_RATE_SPAN = 30
"""Frames over which a rate is averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is to be shown, complete: settings and the portrait they name."""

    settings: Settings
    portrait: Portrait


class RateMeter:
    """Frames a second over the last second or so. One writer."""

    def __init__(self) -> None:
        self._times = np.zeros(_RATE_SPAN, np.int64)
        self.count = 0

    def tick(self) -> None:
        """One more frame, now."""
        self._times[self.count % _RATE_SPAN] = time.monotonic_ns()
        self.count += 1

    def per_s(self) -> float:
        """0 before the second frame, and falling when frames stay away."""
        if self.count < 2:
            return 0.0
        times = self._times[: min(self.count, _RATE_SPAN)]
        span_ns = time.monotonic_ns() - int(times.min())
        return (len(times) - 1) * 1e9 / max(span_ns, 1)


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
        self._calibrate = threading.Event()
        self._badge = BadgePainter()
        self._worker = Worker("animator", self._run, on_end=lambda: on_end(self._worker.error))

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
        """No more frames; the thread ends after the one in work."""
        self._slot.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread. False: it still works."""
        return self._worker.join(timeout_s)

    def _run(self) -> None:
        shown = self._shown
        path = self._open(shown)
        seq = 0
        try:
            while (item := self._slot.take()) is not None:
                path, shown = self._apply(path, shown, self._shown)
                self._step(path, shown.settings, _driver_frame(item[0], seq, item[1]))
                seq += 1
        except Closed:
            return
        finally:
            self._room.close(path)

    def _open(self, shown: Shown) -> FramePath:
        path = self._room.open(shown.portrait, shown.settings.edit(), shown.settings.size())
        path.set_standby(shown.settings.standby)
        self.status = path.status
        return path

    def _apply(self, path: FramePath, old: Shown, new: Shown) -> tuple[FramePath, Shown]:
        """Bring the path to what is wanted now; another size needs another path."""
        if self._calibrate.is_set():
            self._calibrate.clear()
            path.calibrate()
        if new is old:
            return path, new
        if new.settings.size() != old.settings.size():
            self._room.close(path)
            return self._open(new), new
        if new.portrait is not old.portrait:
            path.set_portrait(new.portrait)
        path.set_edit(new.settings.edit())
        if new.settings.standby != old.settings.standby:
            path.set_standby(new.settings.standby)
        return path, new

    def _step(self, path: FramePath, settings: Settings, frame: Frame) -> None:
        number = timecode.read(frame.image) if settings.measure else None
        self.driver_size = (frame.image.shape[1], frame.image.shape[0])
        result = path.step(frame)
        image = result.image
        self._badge(image, settings.badge)
        if number is not None:
            timecode.paint(image, number)
        self.status = path.status
        self._publish(Result(yuv=_to_i420(image), captured_ns=result.captured_ns))
        self.went_out.tick()


def _driver_frame(picture: Any, seq: int, captured_ns: int) -> Frame:
    return Frame(image=picture.to_ndarray(format="rgb24"), seq=seq, captured_ns=captured_ns)


def _to_i420(image: Image) -> Image:
    """RGB ``[H, W, 3]`` with even sides to I420 ``[H * 3 / 2, W]`` (BT.601, limited range, as WebRTC assumes)."""
    if image.shape[0] % 2 or image.shape[1] % 2:
        raise EngineError(f"results must have even sides, got {image.shape[1]}x{image.shape[0]}")
    i420: Image = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    return i420
