"""Compare two reports: ``python -m mimicam.benchmarks --compare A.json B.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicam.engine.errors import EngineError

_TIMES = ("_ms", "_us", "_s", "_ns")
_LESS_IS_BETTER = ("p50", "p90", "p95", "p99", "max", "dropped", "_mb")
_MORE_IS_BETTER = ("fps", "share_of_copy_bandwidth", "times_faster", "bytes_per_s", "holds_sessions", "psnr")
_NOT_COMPARED = ("machine", "gpu_before", "gpu_after", "floor_us", "limit_s", "seconds")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure in both files."""

    name: str
    before: float
    after: float
    worse_by: float
    """As a share of ``before``; negative where it became better."""


def compare(before: Any, after: Any) -> list[Change]:
    """Every figure that both reports have and whose better direction is known."""
    old = dict(_figures(before))
    changes = []
    for name, value in _figures(after):
        # A change is a share of the old value, and 0 has no share.
        if (sign := _direction(name)) and name in old and old[name] > 0:
            worse = sign * (value - old[name]) / old[name]
            changes.append(Change(name=name, before=old[name], after=value, worse_by=worse))
    return changes


def report(paths: tuple[Path, Path], tolerance: float) -> tuple[str, int]:
    """Lines for people, and the exit code: 1 where something became worse by more than the
    tolerance.

    Raises:
        EngineError: a file is no report, or the two have nothing in common.
    """
    before, after = (_read(path) for path in paths)
    changes = compare(before, after)
    if not changes:
        raise EngineError("the two reports have no figure in common: compare reports of the same benchmark")
    beyond = sorted((c for c in changes if abs(c.worse_by) > tolerance), key=lambda c: -c.worse_by)
    lines = [f"{c.name}: {c.before:.4g} -> {c.after:.4g} ({_words(c.worse_by)})" for c in beyond]
    worse = sum(c.worse_by > tolerance for c in changes)
    lines.append(
        f"{len(changes)} figures: {worse} worse, {len(beyond) - worse} better,"
        f" {len(changes) - len(beyond)} within {100 * tolerance:g} %"
    )
    return "\n".join(lines), int(worse > 0)


def _words(worse_by: float) -> str:
    return f"{100 * abs(worse_by):.1f} % {'worse' if worse_by > 0 else 'better'}"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"{path} is no report ({error}): give two JSON files of a benchmark") from error


def _figures(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by their path; rows of a list by their own name where they have one."""
    # Before numbers: True is an int in Python.
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if math.isfinite(value):
            yield name, float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _NOT_COMPARED:
                yield from _figures(inner, f"{name}/{key}" if name else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            # By name, since a report of a newer version may have rows in between: an index would
            # compare different kernels.
            label = inner.get("name", inner.get("sessions", index)) if isinstance(inner, Mapping) else index
            yield from _figures(inner, f"{name}/{label}")


def _direction(name: str) -> int:
    """Return 1 where less is better, -1 where more is, 0 where it is unknown. The last part of the
    path decides first."""
    parts = name.split("/")
    # Before times: ``copy_bytes_per_s`` ends like one in seconds.
    if any(word in part for part in parts[-2:] for word in _MORE_IS_BETTER):
        return -1
    for part in reversed(parts):
        if part in _LESS_IS_BETTER[:5] or part.endswith((*_TIMES, *_LESS_IS_BETTER[5:])):
            return 1
    return 0
