"""Show the result as a camera that other programs can choose."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks import STOP_LIMIT_S
from mimicam.engine.types import Frame

INSTALL = "pip install 'mimicam[virtualcam]'"
REMEDIES = {
    "v4l2loopback": (
        "sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback exclusive_caps=1 card_label=mimicam"
    ),
    "obs": "install OBS Studio 28 or newer, start its virtual camera once, and close OBS",
    "unitycapture": "install the Unity Capture driver and restart the program that shows the camera",
}
"""Remedies by pyvirtualcam's name of the driver."""


def load_library() -> ModuleType:
    """The pyvirtualcam package.

    Raises:
        EngineError: it is not installed (it is GPL-2.0, hence optional).
    """
    try:
        return importlib.import_module("pyvirtualcam")
    except ImportError as error:
        raise EngineError(
            f"the virtual camera needs pyvirtualcam ({error}); run: {INSTALL}, or show the result with --sink window"
        ) from error


def drivers() -> dict[str, Any]:
    """List the drivers that pyvirtualcam has on this system, by name."""
    return dict(importlib.import_module("pyvirtualcam.camera").BACKENDS)


def open_camera(size: tuple[int, int], fps: float, device: str | None = None) -> Any:
    """The first driver that works, as an open ``pyvirtualcam.Camera`` for RGB pictures.

    Raises:
        EngineError: none works; with each driver's own reason and remedy.
    """
    library = load_library()
    reasons = []
    for name in drivers():
        try:
            # Only opening tells whether a driver works: pyvirtualcam lists those that it was built
            # with.
            return library.Camera(size[0], size[1], fps, device=device, backend=name)
        except RuntimeError as error:
            reason = _one_line(error).removeprefix(f"'{name}' backend: ")
            reasons.append(f"{name}: {reason} -> {REMEDIES.get(name, 'see its manual')}")
    what = f"virtual camera {device}" if device else "virtual camera"
    listed = "; ".join(reasons) or "pyvirtualcam knows no driver for this system"
    raise EngineError(f"no {what} works: {listed}; or show the result with --sink window")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class VirtualCameraSink:
    """One virtual camera, opened in its own thread."""

    def __init__(self, device: str | None = None) -> None:
        """``device``: the driver's name of one camera (``/dev/video10``); by default the first that
        works.

        Raises:
            EngineError: pyvirtualcam is not installed.
        """
        load_library()
        self.name = "virtual-camera"
        self.main_thread, self.stop_limit_s = False, STOP_LIMIT_S
        self._device = device
        self._camera: Any = None

    def open(self, size: tuple[int, int], fps: float) -> None:
        self._camera = open_camera(size, fps, self._device)
        self.name = f"virtual-camera {self._camera.device}"

    def write(self, frame: Frame) -> None:
        try:
            # Without `sleep_until_next_frame`: the session's frames set the pace.
            self._camera.send(frame.image)
        except RuntimeError as error:
            raise EngineError(
                f"{self.name} takes no more frames ({_one_line(error)}); load its driver again and restart"
            ) from error

    def poll(self) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
