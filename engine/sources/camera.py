"""A camera: opened with a limit, read on its own thread, found again after it was unplugged."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot
from mimicam.engine.concurrency.threads import Worker
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.devices import CameraInfo, describe, list_cameras, resolve_camera
from mimicam.engine.types import Frame, Image

_OPEN_LIMIT_S = 10.0
_REOPEN_EVERY_S = 1.0
_READS_BEFORE_LOST = 5
_AFTER_FAILURE_S = 0.05
_POLL_S = 0.1


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that this module uses."""

    def read(self) -> tuple[bool, Image | None]:
        """A BGR picture, or False."""
        ...

    def release(self) -> None:
        """Close the camera's device."""
        ...


Opener = Callable[[int, tuple[int, int], float], "Capture | None"]


def open_capture(index: int, size: tuple[int, int], fps: float) -> Capture | None:
    """Try the system's back-ends in turn; None when none opens the camera."""
    # OpenCV writes lines about each back-end that has no such camera; we say it in one.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    for backend in _backends():
        capture = cv2.VideoCapture(index, backend)
        if capture.isOpened():
            # Motion JPEG first: at 30 Hz, USB 2 carries little more than 640x480 uncompressed.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
            capture.set(cv2.CAP_PROP_FPS, fps)
            # One picture: a driver that queues would add its queue to the frame age.
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            return capture
        capture.release()
    return None


def _backends() -> tuple[int, ...]:
    if sys.platform == "win32":
        return (cv2.CAP_DSHOW, cv2.CAP_MSMF)
    if sys.platform == "darwin":
        return (cv2.CAP_AVFOUNDATION,)
    return (cv2.CAP_V4L2, cv2.CAP_ANY)


class CameraSource:
    """Frames of one camera.

    Drivers may block for any time in open, read and release. All three happen on a daemon thread,
    which other threads wait for only up to a limit.
    """

    def __init__(
        self,
        selector: str = "0",
        *,
        clock: Clock,
        drops: Drops,
        size: tuple[int, int] = (640, 480),
        fps: float = 30.0,
        limit_s: float = _OPEN_LIMIT_S,
        reopen_every_s: float = _REOPEN_EVERY_S,
        opener: Opener = open_capture,
        cameras: Callable[[], list[CameraInfo]] = list_cameras,
        platform: str = sys.platform,
    ) -> None:
        """Open the camera and wait for its first picture.

        Args:
            selector: index, or a part of the camera's name.
            clock: stamps the frames.
            drops: counts pictures that were not taken in time.
            size: width, height to ask for; the camera may choose another.
            fps: rate to ask for.
            limit_s: how long the first picture may take.
            reopen_every_s: how often a camera that is gone is looked for.
            opener: opens a device; for tests.
            cameras: lists the devices; for tests.
            platform: as ``sys.platform``; for tests.

        Raises:
            EngineError: no such camera, taken, or it gives no picture in time.
        """
        self._selector, self._size, self.fps = selector, size, fps
        self._clock, self._opener, self._cameras = clock, opener, cameras
        self._reopen_every_s, self._platform = reopen_every_s, platform
        self._camera = resolve_camera(selector, cameras)
        self.name = self._camera.name
        self.status = ""
        self._slot: LatestSlot[Frame] = LatestSlot(drops, "camera")
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._pool: BufferPool[np.uint8] | None = None
        self._seq = 0
        # macOS asks the person whether we may use the camera, and only of the main thread.
        self._opened = self._open() if platform == "darwin" else None
        self._worker = Worker("camera", self._grab, on_end=self._begun.set)
        self._worker.start()
        self._wait_for_first(limit_s)

    def read(self, stop: threading.Event) -> Frame | None:
        while not stop.is_set():
            try:
                frame = self._slot.take(_POLL_S)
            except Closed:
                self._worker.raise_error()
                return None
            if frame is not None:
                return frame
        return None

    def close(self) -> None:
        self._stop.set()
        self._slot.close()
        self._worker.join(0.2)  # a driver that hangs is left behind

    def _wait_for_first(self, limit_s: float) -> None:
        if not self._begun.wait(limit_s):
            self.close()
            raise EngineError(
                f"{self.name} gave no picture within {limit_s:g} s: close other programs that use it, "
                "plug it in again, or choose another with --source camera:N"
            )
        self._worker.raise_error()

    def _grab(self) -> None:
        try:
            capture = self._opened or self._open()
            while not self._stop.is_set():
                if not self._publish_until_lost(capture):
                    capture.release()
                    found = self._find_again()
                    if found is None:
                        return
                    capture = found
            capture.release()
        finally:
            self._slot.close()

    def _open(self) -> Capture:
        capture = self._opener(self._camera.index, self._size, self.fps)
        if capture is None:
            why = "missing, or in use by another program"
            if self._platform == "darwin":
                why += ", or not allowed: see System Settings, Privacy & Security, Camera"
            raise EngineError(f"{self.name} cannot be opened ({why}); {describe(self._cameras())}")
        return capture

    def _publish_until_lost(self, capture: Capture) -> bool:
        """Forward pictures. False: the camera is gone. True: a stop was requested."""
        failures = 0
        while not self._stop.is_set():
            ok, image = capture.read()
            if ok and image is not None and image.size:
                failures = 0
                self._publish(image)
                continue
            failures += 1
            if failures >= _READS_BEFORE_LOST and self._begun.is_set():
                return False  # before the first picture the constructor's limit decides
            self._stop.wait(_AFTER_FAILURE_S)
        return True

    def _publish(self, image_bgr: Image) -> None:
        # First of all, so that converting does not count as younger.
        captured_ns = self._clock.now_ns()
        height, width = image_bgr.shape[:2]
        if self._pool is None or self._pool.shape != (height, width, 3):
            self._pool = BufferPool((height, width, 3), np.uint8)
            self.name = f"{self._camera.name} {width}x{height}"
        picture = self._pool.take()
        cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB, dst=picture)
        self.status = ""
        self._slot.put(Frame(image=picture, seq=self._seq, captured_ns=captured_ns))
        self._seq += 1
        self._begun.set()

    def _find_again(self) -> Capture | None:
        """Try until the camera is back. None: stopped."""
        self.status = f"{self._camera.name} is gone: plug it in again"
        while not self._stop.wait(self._reopen_every_s):
            try:
                # Resolved again: a camera that was plugged in again may have another index.
                self._camera = resolve_camera(self._selector, self._cameras)
            except EngineError:
                continue  # chosen by name and still unplugged
            capture = self._opener(self._camera.index, self._size, self.fps)
            if capture is not None:
                return capture
        return None
