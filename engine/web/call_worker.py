"""The two threads of a call: newest camera picture in, newest result out.

While one thread draws a result, the other one observes the next picture; see `FrameLoop`. The
event loop only passes pictures and settings.
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

from mimicam.engine.badge import Badge
from mimicam.engine.concurrency.clock import MonotonicClock
from mimicam.engine.concurrency.lookahead import LateLookahead
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.errors import EngineError
from mimicam.engine.frame_loop import FrameLoop
from mimicam.engine.pipeline import LivePath, PipelineStatus
from mimicam.engine.portrait import Portrait
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.types import Frame, Image
from mimicam.engine.web import timecode
from mimicam.engine.web.broadcast import Result
from mimicam.engine.web.pipeline_pool import FramePathPool
from mimicam.engine.web.settings import Settings

_JOIN_S = 2.0
_RATE_FRAMES = 256
_RATE_SPAN_NS = 2_000_000_000
_Camera = tuple[Any, int]
"""A picture (`av.VideoFrame`) and the time of its arrival in monotonic nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """Settings of a call, and the enrolled portrait that they name."""

    settings: Settings
    portrait: Portrait


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Observation of one camera picture."""

    what: Any
    """Argument of `FramePath.draw`."""
    captured_ns: int
    number: int | None
    """Number painted into the picture, when frame age is measured."""
    opened: int
    """Number of the path that observed it."""


class RateMeter:
    """Measures frames per second over the last two seconds. One writer.

    Where frames are rarer, the last two of them count.
    """

    def __init__(self) -> None:
        self._times = np.zeros(_RATE_FRAMES, np.int64)
        self.count = 0

    def tick(self) -> None:
        """Count a frame at the present time."""
        self._times[self.count % _RATE_FRAMES] = time.monotonic_ns()
        self.count += 1

    def per_s(self) -> float:
        """Frames per second, 0 before the second frame. Falls while no frame arrives."""
        if self.count < 2:
            return 0.0
        # Sorted, since the oldest time may be anywhere in the ring.
        now_ns = time.monotonic_ns()
        # A copy: the other thread may write while this one sorts.
        times = np.sort(self._times[: min(self.count, _RATE_FRAMES)])
        seen = max(2, int(np.count_nonzero(times > now_ns - _RATE_SPAN_NS)))
        return (seen - 1) * 1e9 / max(now_ns - int(times[-seen]), 1)


class _CallPath:
    """Computes results from camera pictures, with the newest settings of the call.

    One thread calls `lent` and `draw`, another one `observe`. ``wanted``, ``calibrate``
    and ``select_face`` may be set from any thread.
    """

    def __init__(self, pool: FramePathPool, wanted: CallState) -> None:
        self.wanted = wanted
        # Events, since the event loop sets them and the drawing thread clears them.
        self.calibrate = threading.Event()
        self.select_face = threading.Event()
        self.driver_size = (0, 0)
        self.status: PipelineStatus | None = None
        self._pool, self._in_use = pool, wanted
        self.presets = PresetMixer(pool.presets)
        self._label = Badge()
        self._seq = self._opened = 0
        self._was_own_face = False

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Borrow a path from the pool, which takes time. Return the last one at the end."""
        # Settings may have changed since the call began, while the thread was starting.
        self._in_use = self.wanted
        self._path = self._open(self._in_use)
        try:
            yield
        finally:
            self._pool.close(self._path)
            # Call, worker and thread refer to each other, and Python's collector does not count
            # native memory. Dropping the path here frees the networks, 35 MB a call.
            del self._path

    def observe(self, camera: _Camera) -> _Seen:
        """Find the driver's face, and the painted number when frame age is measured."""
        picture, captured_ns = camera
        frame = Frame(image=picture.to_ndarray(format="rgb24"), seq=self._seq, captured_ns=captured_ns)
        self._seq += 1
        self.driver_size = (frame.image.shape[1], frame.image.shape[0])
        number = timecode.read(frame.image) if self.wanted.settings.measure else None
        opened = self._opened  # read before the path: a path opened in between makes this one stale
        what = self._path.observe(frame)
        return _Seen(what=what, captured_ns=captured_ns, number=number, opened=opened)

    def draw(self, seen: _Seen) -> Result:
        """Draw the result with its label, in the format of the encoder."""
        self._apply_changes()
        result = self._blank(seen) if self._is_foreign(seen) else self._path.draw(seen.what)
        # After drawing, so that the number and the label are never warped.
        self._label(result.image, self._in_use.settings.badge)
        if seen.number is not None:
            timecode.paint(result.image, seen.number)
        self.status = self._path.status
        return Result(yuv=_to_i420(result.image), captured_ns=result.captured_ns)

    def _is_foreign(self, seen: _Seen) -> bool:
        """Whether another kind of path observed it: one that shows the driver, or one that never
        does."""
        return seen.opened != self._opened and (self._in_use.settings.own_face or self._was_own_face)

    def _blank(self, seen: _Seen) -> Frame:
        width, height = self._in_use.settings.size
        return Frame(image=np.zeros((height, width, 3), np.uint8), seq=0, captured_ns=seen.captured_ns)

    def _open(self, state: CallState) -> LivePath:
        settings = state.settings
        if settings.own_face:
            path = self._pool.open_own_face(settings.edit, settings.size)
        else:
            path = self._pool.open(state.portrait, settings.edit, settings.size)
        path.set_standby(state.settings.standby)
        path.use_presets(self.presets)  # the same mixer, so that presets outlive a change of size
        self.status = path.status
        return path

    def _apply_changes(self) -> None:
        """Apply the newest settings. Another size, or the driver's own face, needs another path."""
        if self.calibrate.is_set():
            self.calibrate.clear()
            self._path.calibrate()
        if self.select_face.is_set():
            self.select_face.clear()
            self._path.select_next_face()
        # One read of ``wanted``: another thread may replace it at any time.
        old, new = self._in_use, self.wanted
        if new is old:
            return
        self._in_use = new
        if (new.settings.size, new.settings.own_face) != (old.settings.size, old.settings.own_face):
            # The other thread may still observe with the old path, which uses no model of the pool.
            self._pool.close(self._path)
            self._was_own_face = old.settings.own_face
            self._path = self._open(new)
            self._opened += 1
            return
        if new.portrait is not old.portrait:
            self._path.set_portrait(new.portrait)
        self._path.set_edit(new.settings.edit)
        if new.settings.standby != old.settings.standby:
            self._path.set_standby(new.settings.standby)


class CallWorker:
    """Runs the frame path of a call.

    `put`, `change`, `calibrate` and `select_next_face` are thread-safe and never block.
    """

    def __init__(
        self,
        pool: FramePathPool,
        state: CallState,
        *,
        publish: Callable[[Result], None],
        on_fail: Callable[[BaseException], None],
    ) -> None:
        """Prepare the threads, which `start` runs.

        Args:
            pool: lends the frame path. The drawing thread opens it, since that takes time.
            state: initial settings and portrait.
            publish: receives each result on the drawing thread.
            on_fail: called once with the error, on the thread that failed.
        """
        self._path, self._publish = _CallPath(pool, state), publish
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
        """Width and height of the newest driver picture, zeros before the first."""
        return self._path.driver_size

    @property
    def status(self) -> PipelineStatus | None:
        """Status of the path at the last result. None: the path is not open yet."""
        return self._path.status

    @property
    def presets(self) -> PresetMixer:
        """Mixer of the call's presets, for any thread."""
        return self._path.presets

    def busy(self) -> float:
        """Utilisation of the slower thread, 0 to 1. Near 1, more input gives no more results."""
        return self._lookahead.share_at_work(self.went_out.per_s())

    def start(self) -> None:
        """Start both threads, once."""
        self._loop.start()

    def put(self, picture: Any, captured_ns: int) -> None:
        """Offer a driver picture (`av.VideoFrame`). It replaces one that still waits."""
        self.came_in.tick()
        self._loop.put((picture, captured_ns))

    def change(self, state: CallState) -> None:
        """Use these settings and this portrait from the next frame on."""
        self._path.wanted = state

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        self._path.calibrate.set()

    def select_next_face(self) -> None:
        """Follow another face of the driver's picture."""
        self._path.select_face.set()

    def close(self) -> None:
        """Accept no more frames. The threads end after those in progress."""
        self._loop.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for both threads. Returns whether they have ended."""
        drawing, _ = self._loop.workers  # which joins the other one before it ends
        return drawing.join(timeout_s)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Hold the path until both threads have ended."""
        with self._path.lent():
            try:
                yield
            finally:
                # The observing thread uses the path as well, so it must have ended before.
                self._loop.join_observer(_JOIN_S)

    def _hand_out(self, result: Result) -> None:
        self._publish(result)
        self.went_out.tick()


def _to_i420(image: Image) -> Image:
    """Convert RGB ``[H, W, 3]`` with even sides to I420 ``[H * 3 / 2, W]``.

    BT.601 with limited range, which WebRTC assumes.
    """
    if image.shape[0] % 2 or image.shape[1] % 2:
        raise EngineError(f"results must have even sides, got {image.shape[1]}x{image.shape[0]}")
    i420: Image = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    return i420
