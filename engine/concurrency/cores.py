"""How many cores this process may use: a pinned process or a container has fewer than the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores that this process may run on, at least 1: what it is pinned to, within a container's quota (cgroup v2)."""
    return max(1, min(_pinned_to(), _quota(_QUOTA)))


def _pinned_to() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(file: Path) -> int:
    """Whole cores of a file like ``150000 100000``, rounded up; as good as unlimited where there is none."""
    try:
        quota, period = file.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return 1 << 30
