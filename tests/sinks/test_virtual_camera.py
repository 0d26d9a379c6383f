"""The virtual camera: against a driver made for the test, and the native one with a pretended device."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks import virtual_camera
from mimicam.engine.sinks.virtual_camera import VirtualCameraSink
from mimicam.engine.types import Frame

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="pip install 'mimicam[virtualcam]'")
NATIVE = Path(__file__).parent / "native"


class MemoryDriver:
    """A driver of pyvirtualcam that keeps the pictures."""

    pictures: ClassVar[list[Any]] = []
    closed: ClassVar[bool] = False

    def __init__(self, *, width: int, height: int, **_: Any) -> None:
        self._size = (height, width)

    def close(self) -> None:
        type(self).closed = True

    def send(self, frame: Any) -> None:
        self.pictures.append(frame.reshape(*self._size, 3).copy())

    def device(self) -> str:
        return "memory"

    def native_fourcc(self) -> None:
        return None


class BrokenDriver(MemoryDriver):
    """Never opens."""

    def __init__(self, **_: Any) -> None:
        raise RuntimeError("driver is\nnot loaded")


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    registered: dict[str, Any] = {}
    monkeypatch.setattr("pyvirtualcam.camera.BACKENDS", registered)
    monkeypatch.setattr(MemoryDriver, "pictures", [])
    monkeypatch.setattr(MemoryDriver, "closed", False)
    return registered


def _frame(colour: tuple[int, int, int]) -> Frame:
    image = np.empty((48, 64, 3), np.uint8)
    image[:] = colour
    return Frame(image=image, seq=0, captured_ns=0)


@pytest.mark.usefixtures("drivers")
def test_pictures_arrive_at_the_driver_as_they_are() -> None:
    pyvirtualcam.register_backend("memory", MemoryDriver)
    sink = VirtualCameraSink()
    sink.open((64, 48), 30)
    sink.write(_frame((1, 2, 3)))
    sink.close()
    assert MemoryDriver.pictures[0][0, 0].tolist() == [1, 2, 3]
    assert MemoryDriver.closed
    assert sink.name == "virtual-camera memory"


@pytest.mark.usefixtures("drivers")
def test_a_driver_that_fails_does_not_hide_one_that_works() -> None:
    pyvirtualcam.register_backend("broken", BrokenDriver)
    pyvirtualcam.register_backend("memory", MemoryDriver)
    sink = VirtualCameraSink()
    sink.open((64, 48), 30)
    sink.close()
    assert sink.name == "virtual-camera memory"


@pytest.mark.usefixtures("drivers")
def test_when_none_works_each_driver_gives_its_reason_and_remedy() -> None:
    pyvirtualcam.register_backend("v4l2loopback", BrokenDriver)
    pyvirtualcam.register_backend("obs", BrokenDriver)
    sink = VirtualCameraSink()
    with pytest.raises(EngineError) as caught:
        sink.open((64, 48), 30)
    sink.close()
    text = str(caught.value)
    assert "\n" not in text
    assert "v4l2loopback: driver is not loaded -> sudo apt install v4l2loopback" in text
    assert "obs: driver is not loaded -> install OBS Studio" in text
    assert text.endswith("show the result with --sink window")


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(EngineError, match=r"run: pip install 'mimicam\[virtualcam\]'"):
        VirtualCameraSink()


@pytest.mark.usefixtures("drivers")
def test_a_driver_that_breaks_later_ends_with_one_line() -> None:
    class Breaks(MemoryDriver):
        def send(self, frame: Any) -> None:
            raise RuntimeError(f"error writing {frame.size} bytes")

    pyvirtualcam.register_backend("memory", Breaks)
    sink = VirtualCameraSink()
    sink.open((64, 48), 30)
    with pytest.raises(EngineError, match=r"takes no more frames \(error writing 9216 bytes\)"):
        sink.write(_frame((0, 0, 0)))
    sink.close()


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_the_native_linux_driver_gets_the_picture(tmp_path: Path) -> None:
    shim, frames = tmp_path / "shim.so", tmp_path / "frames.yuv"
    source = NATIVE / "fake_v4l2loopback.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    extra = {"LD_PRELOAD": str(shim), "FAKE_V4L2_DEVICE": "/dev/video77", "FAKE_V4L2_FRAMES": str(frames)}
    command = [sys.executable, "-m", "tests.sinks.native.send_pictures"]
    root = Path(virtual_camera.__file__).parents[2]
    done = subprocess.run(command, env={**os.environ, **extra}, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "virtual-camera /dev/video77"
    planes = np.fromfile(frames, np.uint8).reshape(3, 360, 320)
    last = cv2.cvtColor(planes[2], cv2.COLOR_YUV2RGB_I420)
    assert last[120, 160].tolist() == pytest.approx([200, 60, 10], abs=6)
