"""Examine the machine: requirements of the main job, and a remedy for each that is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image

PYTHON_MIN, PYTHON_MAX = (3, 10), (3, 13)
_PACKAGES = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "openvino": "mimicam.engine.silent_imports",  # the import that reports nothing
    "av": "av",
    "tyro": "tyro",
    "rich": "rich",
    "safetensors": "safetensors",
}
"""Distribution to import name of the packages that the core needs."""
_OPTIONAL = {
    "torch": "torch",
    "virtualcam": "pyvirtualcam",
    "webrtc": "aiortc",
    "rtx": "tensorrt_rtx_bindings",
}
"""Extra to import name."""
SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
}
"""System libraries that OpenCV loads on Linux, with the Debian packages that contain them."""
_TEST_CODE = 0x5EED5EED
"""Number that is painted into the test picture."""
_TEST_SIZE = (640, 480)
_TEST_READS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of one check."""

    name: str
    ok: bool
    required: bool
    """Whether the main job needs it."""
    detail: str
    remedy: str = ""
    """Command that provides it; empty when nothing is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualCamera:
    """State of one pyvirtualcam driver."""

    driver: str
    device: str
    """Camera that other programs see; empty when the driver does not work."""
    reason: str
    """Reason why it does not work; empty when it does."""
    remedy: str


def examine() -> list[Check]:
    """Return all findings, in the order in which to fix them."""
    checks: list[Check] = [_python()]
    checks += [_package(name, module) for name, module in _PACKAGES.items()]
    if not all(check.ok for check in checks):
        return checks  # the other checks import these packages
    parts: list[Callable[[], Iterator[Check]]] = [
        _assets, _backend, _processor, _gpu, _camera, _virtual_camera, _window, _video_encoder, _extras,
    ]  # fmt: skip
    for part in parts:
        checks += part()
    return checks


def _python() -> Check:
    have = sys.version_info[:2]
    return Check(
        name="python",
        ok=PYTHON_MIN <= have <= PYTHON_MAX,
        required=True,
        detail=f"{platform.python_version()} on {platform.platform()}",
        remedy="" if PYTHON_MIN <= have <= PYTHON_MAX else "install Python 3.10 to 3.13, then: make demo",
    )


def _package(name: str, module: str) -> Check:
    try:
        # Imported, not looked up: a package that is there may still lack a system library.
        importlib.import_module(module)
        return Check(name=name, ok=True, required=True, detail=version(name))
    except (ImportError, PackageNotFoundError) as error:
        return Check(
            name=name, ok=False, required=True, detail=str(error), remedy=import_remedy(name, str(error))
        )


def import_remedy(name: str, error: str) -> str:
    """Return the command that fixes a failed import: apt for a library, pip for a package."""
    for library, package in SYSTEM_LIBRARIES.items():
        if library in error:
            return f"sudo apt install {package}"
    return f"pip install {name}"


def _assets() -> Iterator[Check]:
    from mimicam.engine.assets_manifest import entries, problems

    try:
        found, count = problems(), len(entries())
    except EngineError as error:
        found, count = [str(error)], 0
    yield Check(
        name="bundled files",
        ok=not found,
        required=True,
        detail="; ".join(found) or f"{count} files, all as they were made",
        remedy="pip install --force-reinstall --no-deps mimicam" if found else "",
    )


def _backend() -> Iterator[Check]:
    from mimicam.engine.models.load import bundled_names

    why = ": the compact model is made for the CPU, and OpenVINO is what runs it fastest there"
    yield _opened("compact", name="backend", required=True, why=why)
    for name in bundled_names():
        if name != "compact":
            yield _opened(name, name=f"backend for {name}", required=False)


def _opened(model: str, *, name: str, required: bool, why: str = "") -> Check:
    from mimicam.engine.models.load import load_model

    try:
        loaded = load_model(model, "auto")
    except EngineError as error:
        remedy = "pip install --force-reinstall --no-deps mimicam"
        return Check(name=name, ok=False, required=required, detail=str(error), remedy=remedy)
    detail = f"auto chooses {loaded.backend} for {loaded.name}{why}"
    return Check(name=name, ok=True, required=required, detail=detail)


def _processor() -> Iterator[Check]:
    from mimicam.engine.backends.openvino import core

    name = core().get_property("CPU", "FULL_DEVICE_NAME")
    able = " ".join(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    yield Check(
        name="processor",
        ok=True,
        required=False,
        detail=f"{name.strip()}, {usable_cores()} of {os.cpu_count()} cores, {able}",
    )


def _gpu() -> Iterator[Check]:
    names = gpu_names()
    detail = ", ".join(names) or "none found by nvidia-smi; the CPU does the work"
    yield Check(name="gpu", ok=bool(names), required=False, detail=detail)


def gpu_names() -> list[str]:
    """Return NVIDIA GPUs with their driver, as ``nvidia-smi`` names them; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _camera() -> Iterator[Check]:
    from mimicam.engine.sources.devices import list_cameras

    cameras = list_cameras()
    yield Check(
        name="camera",
        ok=bool(cameras),
        required=True,
        detail=", ".join(f"{c.index} {c.name}" for c in cameras) or "this machine shows none",
        remedy="" if cameras else "plug one in; without one: mimicam run --source PATH --sink file:OUT.mp4",
    )


def _virtual_camera() -> Iterator[Check]:
    for found in virtual_cameras():
        tested = self_test() if found.device else None
        notes = {
            None: "",
            True: "; the test picture came back",
            False: "; the test picture did not come back",
        }
        yield Check(
            name=f"virtual camera {found.driver}",
            ok=bool(found.device) and tested is not False,
            required=False,
            detail=(found.device or found.reason) + notes[tested],
            remedy=found.remedy,
        )


def virtual_cameras() -> list[VirtualCamera]:
    """Open each driver for a moment and return its state."""
    from mimicam.engine.sinks import virtual_camera as sink

    try:
        library = sink.load_library()
    except EngineError as error:
        reason = str(error.__cause__ or error)
        return [VirtualCamera(driver="pyvirtualcam", device="", reason=reason, remedy=sink.INSTALL)]
    return [_probe(library, name, sink.REMEDIES.get(name, "see its manual")) for name in sink.drivers()]


def _probe(library: Any, name: str, remedy: str) -> VirtualCamera:
    try:
        # Opened for real: a driver that is installed may have no device.
        with library.Camera(*_TEST_SIZE, 30, backend=name) as camera:
            return VirtualCamera(driver=name, device=camera.device, reason="", remedy="")
    except RuntimeError as error:
        return VirtualCamera(driver=name, device="", reason=" ".join(str(error).split()), remedy=remedy)


def self_test() -> bool | None:
    """Send a test picture to the virtual camera and read it back as another program would.

    Returns:
        Whether it came back; None where the system lets no program read a device by its path.
    """
    from mimicam.engine.sinks.virtual_camera import open_camera

    camera = open_camera(_TEST_SIZE, 30)
    stop = threading.Event()
    # Sends while this thread reads: a reader gets nothing from a camera without a writer.
    sender = threading.Thread(target=_send_until, args=(camera, make_test_picture(), stop), daemon=True)
    try:
        if not str(camera.device).startswith("/dev/"):
            return None
        camera.send(make_test_picture())  # v4l2loopback delivers nothing before the first picture
        sender.start()
        return _reads_code(str(camera.device))
    finally:
        stop.set()
        if sender.is_alive():
            sender.join(2.0)
        camera.close()


def make_test_picture() -> Image:
    """Return a grey picture with `_TEST_CODE` in its pixels."""
    from mimicam.engine.sources.pattern import paint_code

    image = np.full((_TEST_SIZE[1], _TEST_SIZE[0], 3), 90, np.uint8)
    paint_code(image, _TEST_CODE)
    return image


def _send_until(camera: Any, picture: Image, stop: threading.Event) -> None:
    while not stop.wait(1 / 30):
        camera.send(picture)


def _reads_code(device: str) -> bool:
    import cv2

    from mimicam.engine.sources.pattern import read_code

    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        # Several reads, since a device first hands out what it has buffered.
        for _ in range(_TEST_READS):
            ok, image = capture.read()
            if not ok:
                return False
            if read_code(np.asarray(image, np.uint8)) == _TEST_CODE:
                return True
        return False
    finally:
        capture.release()


def _window() -> Iterator[Check]:
    from mimicam.engine.sinks.window import check_display

    try:
        check_display()
    except EngineError as error:
        yield Check(name="window", ok=False, required=False, detail=str(error))
        return
    yield Check(name="window", ok=True, required=False, detail="a display answers")


def _video_encoder() -> Iterator[Check]:
    from mimicam.engine.sinks.video_writer import h264_encoder

    found = h264_encoder()
    yield Check(
        name="video encoder", ok=True, required=False, detail=found or "no H.264; files are written as MPEG-4"
    )


def _extras() -> Iterator[Check]:
    for extra, module in _OPTIONAL.items():
        # Looked up only: importing PyTorch takes seconds.
        have = importlib.util.find_spec(module) is not None
        yield Check(
            name=f"extra {extra}",
            ok=have,
            required=False,
            detail="installed" if have else "not installed",
            remedy="" if have else f"pip install 'mimicam[{extra}]'",
        )
