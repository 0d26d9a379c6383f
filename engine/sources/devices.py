"""List the machine's cameras by index and name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicam.engine.errors import EngineError

_SYSFS = Path("/sys/class/video4linux")
_COMMAND_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfo:
    """A camera of this machine."""

    index: int
    """Index that OpenCV opens and ``--source camera:N`` takes."""
    name: str


def list_cameras() -> list[CameraInfo]:
    """The cameras of this machine, by index. Empty when there is none."""
    if sys.platform == "darwin":
        return parse_macos(_output(["system_profiler", "-json", "SPCameraDataType"]))
    if sys.platform == "win32":
        # Without UTF-8, names with accents arrive in the console's code page.
        query = (
            "[Console]::OutputEncoding = [Text.Encoding]::UTF8; "
            "Get-CimInstance Win32_PnPEntity | Where-Object { $_.PNPClass -in 'Camera','Image' } | "
            "Select-Object Name | ConvertTo-Json"
        )
        command = ["powershell", "-NoProfile", "-Command", query]
        return parse_windows(_output(command))
    return list_linux(_SYSFS)


def list_linux(sysfs: Path) -> list[CameraInfo]:
    """The first node of each device below ``/sys/class/video4linux``; the others carry metadata."""
    found = []
    for node in sysfs.glob("video*") if sysfs.is_dir() else ():
        if _line(node / "index") in ("0", ""):
            index = int(node.name.removeprefix("video"))
            found.append(CameraInfo(index=index, name=_line(node / "name") or node.name))
    return sorted(found, key=lambda camera: camera.index)


def parse_macos(text: str) -> list[CameraInfo]:
    """Cameras in the answer of ``system_profiler -json SPCameraDataType``, in AVFoundation's
    order."""
    answer = _parsed(text)
    entries = answer.get("SPCameraDataType", []) if isinstance(answer, dict) else []
    return [CameraInfo(index=i, name=str(entry.get("_name", ""))) for i, entry in enumerate(entries)]


def parse_windows(text: str) -> list[CameraInfo]:
    """Cameras in the answer of PowerShell: one object, or a list of them."""
    data = _parsed(text) or []
    entries = data if isinstance(data, list) else [data]
    return [CameraInfo(index=i, name=str(entry.get("Name", ""))) for i, entry in enumerate(entries)]


def resolve_camera(selector: str, cameras: Callable[[], list[CameraInfo]] = list_cameras) -> CameraInfo:
    """The camera meant by an index or a part of its name.

    Raises:
        EngineError: no camera has that name.
    """
    found = cameras()
    if selector.isdecimal():
        index = int(selector)
        return next((c for c in found if c.index == index), CameraInfo(index=index, name=f"camera {index}"))
    for camera in found:
        if selector.casefold() in camera.name.casefold():
            return camera
    raise EngineError(f"no camera is called {selector!r}; {describe(found)}")


def describe(cameras: list[CameraInfo]) -> str:
    """List the cameras, for the end of an error message."""
    if not cameras:
        return "this machine shows no camera: plug one in, or play a file with --source PATH"
    return "there are: " + ", ".join(f"{c.index} ({c.name})" for c in cameras)


def _parsed(text: str) -> Any:
    """None where the answer is no JSON, as a warning of the system's tool is."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # sysfs leaves the file out on old kernels


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_COMMAND_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # listing is a courtesy: cameras open by index without it
    return done.stdout.decode("utf-8-sig", errors="replace")
