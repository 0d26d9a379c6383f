"""A preview window with keys."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks import STOP_LIMIT_S
from mimicam.engine.types import Frame, Image

TITLE = "mimicam"
_NO_KEY = 255
_WAIT_MS = 1
_WINDOW_PX = 480
"""The larger side is brought up to this by a whole factor, so that figures are legible."""
_HELP = [
    "1-9 portrait  m mode  c calibrate  + - gain",
    "space standby  t other face  f figures  q quit",
    "letters: expressions, see mimicam preset list",
]
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


class Screen(Protocol):
    """The part of a GUI library that a window uses."""

    def show(self, image_bgr: Image) -> None:
        """Open the window if need be, and draw."""
        ...

    def key(self) -> str | None:
        """The key pressed since the last call; lets the GUI work."""
        ...

    def is_open(self) -> bool:
        """False once the person closed the window."""
        ...

    def close(self) -> None:
        """Take the window away."""
        ...


class OpenCVScreen:
    """Shows pictures with OpenCV's HighGUI."""

    def __init__(self) -> None:
        self._made = False

    def show(self, image_bgr: Image) -> None:
        if not self._made:
            self._make(*image_bgr.shape[:2])
        cv2.imshow(TITLE, image_bgr)

    def key(self) -> str | None:
        code = cv2.waitKey(_WAIT_MS) & 0xFF
        return None if code == _NO_KEY else chr(code)

    def is_open(self) -> bool:
        return bool(cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1)

    def close(self) -> None:
        cv2.destroyWindow(TITLE)

    def _make(self, height: int, width: int) -> None:
        # OpenCV's Qt comes without fonts, and prints a warning with every window.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        if sys.platform not in ("win32", "darwin"):
            # Nor with any other platform: a desktop that asks for wayland would end the process.
            os.environ["QT_QPA_PLATFORM"] = "xcb"
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(TITLE, width, height)
        self._made = True


def check_display(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> None:
    """Make sure that a window can open: OpenCV's Qt ends the whole process when it cannot.

    Raises:
        EngineError: there is no display.
    """
    if platform in ("win32", "darwin"):
        return
    display = environ.get("DISPLAY", "")
    if not display and environ.get("WAYLAND_DISPLAY"):
        raise EngineError("OpenCV's windows need X: turn XWayland on, or use --sink file:OUT.mp4")
    if not display:
        raise EngineError(
            "no display for a window (DISPLAY is not set); use --sink file:OUT.mp4, or run on a desktop"
        )
    if not _x_server_answers(display):
        raise EngineError(f"the display {display} does not answer; start it, or use --sink file:OUT.mp4")


def has_display() -> bool:
    """Whether a window can open."""
    try:
        check_display()
    except EngineError:
        return False
    return True


def _x_server_answers(display: str) -> bool:
    host, _, number = display.rpartition(":")
    # DISPLAY is HOST:NUMBER.SCREEN; only the number selects the server.
    screen = number.split(".")[0]
    if not screen.isdecimal():
        return Path(display).exists()  # macOS' launchd gives a path
    # Python on Windows may lack Unix sockets.
    family = socket.AF_INET if host else getattr(socket, "AF_UNIX", socket.AF_INET)
    address = (host, 6000 + int(screen)) if host else f"/tmp/.X11-unix/X{screen}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


class WindowSink:
    """Draws each result; keys go to ``on_key``, one at a time."""

    def __init__(
        self,
        *,
        on_key: Callable[[str], None],
        figures: Callable[[], list[str]],
        banner: str = "",
        screen: Screen | None = None,
    ) -> None:
        """Make sure that there is a display.

        Args:
            on_key: receives each key but ``f``; ``q`` also when the window is closed by hand.
            figures: lines of text for the overlay that ``f`` turns on.
            banner: line that is always shown. Empty: none.
            screen: the GUI; by default OpenCV's.

        Raises:
            EngineError: no display.
        """
        if screen is None:
            check_display()
        self.name = "window"
        self.main_thread, self.stop_limit_s = True, STOP_LIMIT_S
        self._screen = screen or OpenCVScreen()
        self._on_key, self._figures, self._banner = on_key, figures, banner
        self._show_figures = False
        self._drawn: Image | None = None

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Nothing: the window comes with the first frame."""

    def write(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        scale = -(-_WINDOW_PX // max(height, width))
        shape = (height * scale, width * scale, 3)
        if self._drawn is None or self._drawn.shape != shape:
            # Kept: a frame draws into it instead of allocating a picture.
            self._drawn = np.empty(shape, np.uint8)
        cv2.resize(frame.image, shape[1::-1], dst=self._drawn, interpolation=cv2.INTER_LINEAR)
        cv2.cvtColor(self._drawn, cv2.COLOR_RGB2BGR, dst=self._drawn)
        figures = [*self._figures(), *_HELP] if self._show_figures else []
        draw_lines(self._drawn, [*([self._banner] if self._banner else []), *figures])
        try:
            self._screen.show(self._drawn)
        except cv2.error as error:
            raise EngineError(
                "this OpenCV has no windows; run: pip uninstall opencv-python-headless && "
                "pip install --force-reinstall opencv-python"
            ) from error

    def poll(self) -> None:
        if self._drawn is None:
            return
        key = self._screen.key()
        if key == "f":
            self._show_figures = not self._show_figures
        elif key is not None:
            self._on_key(key)
        if not self._screen.is_open():
            self._on_key("q")

    def close(self) -> None:
        if self._drawn is not None and self._screen.is_open():
            self._screen.close()


def draw_lines(image: Image, lines: list[str]) -> None:
    """Write text over the bottom of a picture, in place: white with a dark shadow."""
    height, width = image.shape[:2]
    scale = max(0.35, width / 1024)
    step = round(34 * scale) + 2
    for row, line in enumerate(reversed(lines)):
        x, y = 8, height - 8 - row * step
        # The shadow first, so that the text is legible on any picture.
        for shift, colour in ((1, _BLACK), (0, _WHITE)):
            where = (x + shift, y + shift)
            cv2.putText(image, line, where, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
