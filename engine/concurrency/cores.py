"""Count the cores that this process may use: pinning or a container can leave fewer than the
machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Count the cores that this process may run on, at least 1: its pinning, within a container's
    quota (cgroup v2)."""
    return max(1, min(_pinned_to(), _quota(_QUOTA)))


def _pinned_to() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(file: Path) -> int:
    """Read whole cores from a file like ``150000 100000``, rounded up; practically unlimited
    without one."""
    try:
        quota, period = file.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return 1 << 30
