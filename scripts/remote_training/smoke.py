"""A short training run that writes only figures: steps per second, and the time of each kernel."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from mimicam.benchmarks.gpu_profile import profiled
from mimicam.engine.files import write_atomically
from scripts.remote_training.session import RemoteTraining
from scripts.remote_training.snapshots import Progress

_WARM_UP_SHARE = 0.4
"""Share of the time before measuring: cuDNN chooses algorithms, memory is allocated, clocks
rise."""
_PROFILED = 5
"""Number of profiled steps."""


def run_smoke(
    training: RemoteTraining, seconds: float, out: Path, *, profiled_steps: int = _PROFILED
) -> dict[str, Any]:
    """Train for ``seconds`` and write the figures; then write them again with the profile of a few
    steps."""
    progress, start = Progress(training.options.batch), time.monotonic()
    steps = training.steps(progress)
    counting = False
    for step in steps:
        passed = time.monotonic() - start
        # The first step compiles and allocates: it never counts.
        if not counting and passed > _WARM_UP_SHARE * seconds and step > 0:
            _finish(training)
            progress.begin()
            counting = True
        elif counting and passed > seconds:
            break
    _finish(training)
    report = _report(training, progress)
    _write(out, report)
    report |= profiled(lambda: next(steps), profiled_steps)
    _write(out, report)
    return report


def _report(training: RemoteTraining, progress: Progress) -> dict[str, Any]:
    o, device = training.options, training.device
    on_gpu = device.type == "cuda"
    facts = {
        "batch": o.batch,
        "size": o.size,
        "cross_identity": o.cross_identity,
        "every_loss": training.complete,
        "skipped_steps": int(training.recipe.skipped),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
    }
    if on_gpu:
        facts["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 1)
    return progress.facts() | facts


def _finish(training: RemoteTraining) -> None:
    if training.device.type == "cuda":
        torch.cuda.synchronize(training.device)


def _write(out: Path, report: dict[str, Any]) -> None:
    with write_atomically(out) as part:
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
