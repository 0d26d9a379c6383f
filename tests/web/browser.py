"""Chromium with a painted camera and a server on a thread, for tests of the page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mimicam.engine.portrait import Portrait
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.types import EditSettings, Frame
from mimicam.engine.web import timecode
from mimicam.engine.web.options import Options
from mimicam.engine.web.pipeline_pool import EchoPath, EchoPool, FramePathPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.server import Server
from tests.web.conftest import OPTIONS

CAMERA_FRAMES = 90
PATIENCE_S = 30.0
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
)  # fmt: skip

_SMALL = "localStorage['mimicam.settings'] ??= JSON.stringify({height: 256})"
"""Makes results small, unless a test sets another height."""


def chromium_path() -> str:
    """Path of Chromium. Skips the test if it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    named = os.environ.get("MIMICAM_CHROMIUM", "")
    for name in (named, "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip("no Chromium (apt-get install chromium, or set MIMICAM_CHROMIUM)")


def write_painted_camera(path: Path) -> None:
    """Write small pictures with a counter, ten a second, as a Y4M file for Chromium's camera.

    Small and slow, so that the tests also pass on a busy machine.
    """
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F10:1 Ip A1:1 C420jpeg\n")
        for n in range(CAMERA_FRAMES):
            image = np.full((240, 320, 3), 110, np.uint8)
            cv2.circle(image, (30 + 3 * n, 130), 20, (210, 190, 170), -1)
            timecode.paint(image, n)
            file.write(b"FRAME\n" + cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes())


@contextmanager
def browser_with(camera: Path) -> Iterator[Any]:
    """Start Chromium with a file as its camera. Tests grant the permissions."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*_FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        try:
            yield browser
        finally:
            browser.close()


class TintPool(EchoPool):
    """Results in the portrait's colour, with the driver's brightness in the middle."""

    shows_driver = False
    presets = (BUNDLED["smile"], BUNDLED["wink"])

    edits_own_face = True

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> Any:
        return _TintPath(size, edit, portrait)

    def open_own_face(self, edit: EditSettings, size: tuple[int, int]) -> Any:
        return EchoPath(size, edit, EchoPool().enroll(np.zeros((8, 8, 3), np.uint8), "own"))


class _TintPath(EchoPath):
    def draw(self, frame: Frame) -> Frame:
        image = np.empty((self.size[1], self.size[0], 3), np.uint8)
        image[:] = self.portrait.picture[0, 0] if not self.standby else 0
        middle = slice(self.size[1] // 4, self.size[1] // 2)
        image[middle, : self.size[0] // 4] = int(frame.image[100:].mean())
        return replace(frame, image=image)


@contextmanager
def serving(
    folder: Path, *, pool: FramePathPool | None = None, options: Options = OPTIONS
) -> Iterator[Server]:
    """Run a server on a thread."""
    pool = pool or TintPool()
    server = Server(options, pool, PortraitLibrary(pool, folder=folder))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Page:
    """A page of the studio with its console errors, and helpers to inspect it."""

    def __init__(self, browser: Any, server: Server, *, camera: bool = True, **context: Any) -> None:
        self.server = server
        self.context = browser.new_context(viewport={"width": 1000, "height": 640}, **context)
        self.context.add_init_script(_SMALL)
        if camera:
            self.context.grant_permissions(["camera", "microphone"], origin=server.url)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self) -> Page:
        self.page.goto(f"{self.server.url}/?token={self.server.options.token}")
        return self

    def start(self) -> Page:
        self.page.click("#start")
        self.page.wait_for_selector("#stage[data-live=true]", timeout=PATIENCE_S * 1000)
        return self

    def settings(self) -> Any:
        """Settings of the newest call on the server."""
        studio = self.server.studio
        assert studio is not None
        return studio.calls[-1].settings

    def colour(self, selector: str = "#result") -> tuple[int, int, int]:
        """RGB of a pixel in the lower right part of the decoded result."""
        script = """(selector) => { const video = document.querySelector(selector);
            const canvas = new OffscreenCanvas(64, 48); const context = canvas.getContext('2d');
            context.drawImage(video, 0, 0, 64, 48); return [...context.getImageData(44, 30, 1, 1).data]; }"""
        red, green, blue, _ = self.page.evaluate(script, selector)
        return red, green, blue

    def shown_pictures(self, selector: str = "#result") -> int:
        return int(
            self.page.evaluate(
                "(s) => document.querySelector(s).getVideoPlaybackQuality().totalVideoFrames", selector
            )
        )

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Poll a condition while the page runs."""
        end_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end_s, f"waited in vain until {what}"
            self.page.wait_for_timeout(50)

    def close(self) -> None:
        self.context.close()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
