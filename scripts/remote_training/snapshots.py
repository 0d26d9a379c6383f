"""The small files of a training session: weights, curve, samples, report.

Each is complete or absent.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch

from mimicam.engine.files import write_atomically
from mimicam.training.compact.recipe import CompactRecipe
from mimicam.training.compact.weights import save_half
from mimicam.training.data.pairs import Batch

FILES = ("weights.pt", "curve.csv", "samples.jpg", "report.json", "report.md")
_SHOWN = 10
"""Number of pairs on the sample grid."""


class Progress:
    """Measures steps per second, and the time that training waits for data."""

    def __init__(self, batch: int) -> None:
        self.batch, self._waited_s, self._steps = batch, 0.0, 0
        self.begin()

    def begin(self) -> None:
        """Restart all counters now."""
        self._begin_s, self._waited_s, self._steps = time.monotonic(), 0.0, 0

    def counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches through, and count the time that each takes to arrive."""
        while True:
            before = time.monotonic()
            batch = next(batches)
            self._waited_s += time.monotonic() - before
            yield batch
            self._steps += 1

    def facts(self) -> dict[str, float]:
        """Return rates since `begin`. Synchronise the device first: queued work must be done."""
        seconds = max(time.monotonic() - self._begin_s, 1e-9)
        rate = self._steps / seconds
        return {
            "steps_per_s": round(rate, 3),
            "samples_per_s": round(rate * self.batch, 1),
            "waiting_share": round(self._waited_s / seconds, 3),
            "seconds": round(seconds, 1),
        }


class Snapshots:
    """Writes the current state of a training."""

    def __init__(
        self, recipe: CompactRecipe, shown: Batch | None, out: Path, progress: Progress, *, curve: Path
    ) -> None:
        """``shown``: pairs of validation people; ``curve``: the file that the trainer writes."""
        self._recipe, self._shown, self._out, self._progress, self._curve = (
            recipe,
            shown,
            out,
            progress,
            curve,
        )
        self._facts: dict[str, Any] = {"files": list(FILES)}
        out.mkdir(parents=True, exist_ok=True)

    def add_facts(self, **facts: Any) -> None:
        """Add entries to the report."""
        self._facts |= facts

    def write(self, step: int) -> None:
        """Write all files.

        Weights that are not finite are not written: those of the last snapshot stay.
        """
        device = next(self._recipe.model.parameters()).device
        if device.type == "cuda":
            # Rates are measured over finished steps only.
            torch.cuda.synchronize(device)
        average = self._recipe.average.state_dict()
        # One read from the device for all weights.
        finite = bool(torch.stack([value.isfinite().all() for value in average.values()]).all())
        if finite:
            save_half(average, self._out / "weights.pt", step=step)
        if self._curve.is_file():
            with write_atomically(self._out / "curve.csv") as part:
                shutil.copyfile(self._curve, part)
        facts = {"step": step, "batch": self._progress.batch, **self._progress.facts(), **_machine(device)}
        facts |= {"weights_finite": finite, "skipped_steps": int(self._recipe.skipped), **self._facts}
        if self._shown is not None:
            facts |= {name: round(value, 3) for name, value in self._recipe.figures(self._shown).items()}
            self._write_grid(self._shown)
        _replace(self._out / "report.json", json.dumps(facts, indent=1).encode())
        _replace(self._out / "report.md", _page(facts).encode())
        print(json.dumps(facts), flush=True)

    def _write_grid(self, batch: Batch) -> None:
        """Draw the whole batch, then cut: for another number of pairs cuDNN would time its
        convolutions again."""
        grid = self._recipe.sample_grid(batch)[:, :, : _SHOWN * batch["source"].shape[-1]]
        pixels = ((grid.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        done, data = cv2.imencode(".jpg", pixels[:, :, ::-1])
        assert done, "OpenCV always writes JPEG"
        _replace(self._out / "samples.jpg", data.tobytes())


def _machine(device: torch.device) -> dict[str, object]:
    if device.type != "cuda":
        return {"device": "cpu"}
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    return {"device": torch.cuda.get_device_name(device), "peak_gib": round(peak, 1)}


def _page(facts: dict[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items() if name != "files")
    return f"# Training session\n\n| | |\n| --- | --- |\n{rows}\n"


def _replace(path: Path, data: bytes) -> None:
    with write_atomically(path) as part:
        part.write_bytes(data)
