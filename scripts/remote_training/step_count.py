"""Estimate the number of steps of a session, from the training smoke run of
``scripts/gpu_check.py``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicam.benchmarks.gpu_parts import SMOKE
from mimicam.engine.errors import EngineError

CHECK = "gpu_check.json"


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """Length of the learning-rate schedule, and its source."""

    steps: int
    source: str


def find_step_count(
    out: Path, seconds: float, *, batch: int, device: str, given: Path | None, guess: int
) -> StepCount:
    """Estimate the steps that fit into ``seconds``.

    Args:
        out: folder of the session. The smoke run is searched in and beside it.
        seconds: duration of training.
        batch: samples per step. Smoke runs of another batch are ignored.
        device: name of the device. Smoke runs on another one are ignored.
        given: report of ``gpu_check.py``, or of ``gpu_train.py --smoke``.
        guess: result if no smoke run is found.

    Raises:
        EngineError: the given file holds no smoke run of this batch on this device.
    """
    files = [given] if given is not None else _nearby(out)
    for file in files:
        rate = _rate(file, batch, device)
        if rate:
            return StepCount(
                steps=max(round(rate * seconds), 1),
                source=f"{file.parent.name}/{file.name}: {rate:.2f} steps/s",
            )
    if given is not None:
        raise EngineError(
            f"{given} holds no training smoke run with batches of {batch} on {device}: give --steps"
        )
    return StepCount(steps=guess, source="a guess: no smoke run was found")


def _nearby(out: Path) -> list[Path]:
    """List reports in the output folder, beside it, and in the folders beside it, newest first."""
    out = out.resolve()
    found = {out / CHECK, out.parent / CHECK, *out.parent.glob(f"*/{CHECK}")}
    return sorted((file for file in found if file.is_file()), key=lambda file: -file.stat().st_mtime)


def _rate(file: Path, batch: int, device: str) -> float:
    """Read steps per second of the smoke run in a file; 0 if it holds none that fits."""
    try:
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
    found = report.get("parts", {}).get(SMOKE, {}).get("result", report)
    # Rates of another batch or device do not transfer.
    fits = found.get("batch") == batch and found.get("device") == device
    return float(found.get("steps_per_s", 0.0)) if fits else 0.0
