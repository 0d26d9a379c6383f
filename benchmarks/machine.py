"""Describe where a figure was measured: machine, versions, commit, memory."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.doctor import gpu_names
from mimicam.engine.files import write_atomically

_PACKAGES = (
    "mimicam",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "openvino",
    "av",
    "torch",
    "triton",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "nvidia-cuda-nvrtc",
    "nvidia-cudnn-cu13",
    "onnx",
    "onnxruntime",
    "tensorrt-cu13",
    "tensorrt_rtx_cu13_bindings",
    "torch-tensorrt",
)
_MB = 1 << 20


def describe_machine() -> dict[str, Any]:
    """Describe CPU, GPU, system, versions and commit. Nothing identifies the owner."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        # Two loads, here and in `finish_report`: a figure from a busy machine can be recognised.
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "gpu": gpu_names(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "commit": commit(),
    }


def finish_report(report: dict[str, Any], out: Path | None) -> None:
    """Add the machine's load at the end to a report, print it, and write it to ``out`` if there is
    one."""
    if hasattr(os, "getloadavg"):
        report["machine"]["load_at_end"] = round(os.getloadavg()[0], 2)
    text = json.dumps(report, indent=1)
    print(text)
    if out is not None:
        with write_atomically(out) as part:
            part.write_text(text + "\n", encoding="utf-8")


def cpu_name() -> str:
    """As OpenVINO names it; as the system does on a machine without OpenVINO."""
    try:
        from mimicam.engine.backends.openvino import core
    except ImportError:
        return _system_cpu_name()
    return str(core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def _system_cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


SMI_FIELDS = (
    "name", "driver_version", "pstate", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.draw",
    "power.limit", "temperature.gpu", "memory.used", "memory.total",
)  # fmt: skip


def gpu_state() -> dict[str, str] | None:
    """Read clocks, power state, power and memory from the driver; None without a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return None
    return dict(zip(SMI_FIELDS, map(str.strip, lines[0].split(",")), strict=False))


def gpu_memory_mb() -> dict[str, float] | None:
    """Read the GPU memory that this process holds through PyTorch, now and at most; None without a
    GPU."""
    # Looked up, not imported: a run without PyTorch must not count it as its memory.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    found = {"allocated": torch.cuda.memory_allocated(), "reserved": torch.cuda.memory_reserved()}
    found |= {
        "allocated_peak": torch.cuda.max_memory_allocated(),
        "reserved_peak": torch.cuda.max_memory_reserved(),
    }
    # Of the whole device: TensorRT's memory is in none of PyTorch's counters.
    free, total = torch.cuda.mem_get_info()
    return {name: round(value / _MB, 1) for name, value in (found | {"device_used": total - free}).items()}


def commit() -> str | None:
    """Commit of the checkout, with a plus sign when it has changes; None for an installed
    package."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    hashed = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return hashed + "+" if hashed and changed else hashed


def resident_mb() -> float | None:
    """Memory of this process now; None where the system does not tell without a package."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    # The second number of statm is resident pages (proc(5)).
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


def peak_mb() -> float | None:
    """Most memory this process ever had; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes there, Linux kilobytes.
    return used / _MB if sys.platform == "darwin" else used / 1024


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
