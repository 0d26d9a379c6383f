"""The small files of a DAE-GAN session: weights, samples, report. Each is complete or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from mimicam.engine.files import write_atomically
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.training.daegan.following import NAMES
from mimicam.training.daegan.recipe import Batch, DaeGanRecipe

FILES = ("model.safetensors", "samples.jpg", "report.json")
_SHOWN = 10
"""Number of pairs on the sample grid."""


class DaeGanSnapshots:
    """Writes the current state of a session, whose recipe changes from phase to phase."""

    def __init__(self, out: Path, **facts: object) -> None:
        """``facts``: entries of every report."""
        self._out, self._facts = out, facts
        self._history: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)

    def write(self, recipe: DaeGanRecipe, shown: Batch | None, facts: dict[str, Any]) -> None:
        """Write all files.

        Weights that are not finite are not written: those of the last snapshot stay.

        Args:
            shown: pairs of validation people, at the recipe's size; None draws and measures
                nothing.
            facts: entries of this report; the reports before are kept as its history.
        """
        finite = _finite(recipe)
        if finite:
            save_daegan(recipe.result, self._out / "model.safetensors")
            # safetensors makes files that only the owner may read; another account may collect
            # them.
            (self._out / "model.safetensors").chmod(0o644)
        row = {**facts, "weights_finite": finite, "skipped_updates": int(recipe.skipped)}
        if shown is not None:
            row |= figures(recipe, shown)
            self._write_grid(recipe, shown)
        self._history.append(row)
        report = {**row, **self._facts, **_machine(), "files": list(FILES), "history": self._history}
        with write_atomically(self._out / "report.json") as part:
            part.write_text(json.dumps(report, indent=1), encoding="utf-8")
        print(json.dumps(row), flush=True)

    def _write_grid(self, recipe: DaeGanRecipe, shown: Batch) -> None:
        # The whole batch, then cut: for another number of pairs cuDNN would time its convolutions
        # again.
        grid = recipe.sample_grid(shown)[:, :, : _SHOWN * recipe.model.config.size]
        pixels = ((grid.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        done, data = cv2.imencode(".jpg", pixels[:, :, ::-1])
        assert done, "OpenCV always writes JPEG"
        with write_atomically(self._out / "samples.jpg") as part:
            part.write_bytes(data.tobytes())


@torch.no_grad()
def figures(recipe: DaeGanRecipe, shown: Batch) -> dict[str, float]:
    """Compute the L1 (pictures in -1..1) and PSNR in dB of the generator's pictures, of the
    reconstructions, and of copying the first frame; with landmarks, what `following` measures
    too."""
    target = shown["target"]
    pictures = {
        "generator": recipe.generated(shown),
        "reconstruction": recipe.reconstructed(shown),
        "copy": shown["frames"][:, 0],
    }
    found: dict[str, Tensor] = {}
    for name, picture in pictures.items():
        difference = picture.clamp(-1, 1) - target
        error = (difference**2).mean(dim=(1, 2, 3)) / 4
        found[f"l1_{name}"] = difference.abs().mean()
        found[f"psnr_{name}"] = (-10 * error.clamp_min(1e-8).log10()).mean()
    if "target_points" in shown:
        found |= {f"follow_{name}": value for name, value in zip(NAMES, recipe.followed(shown), strict=True)}
    numbers = torch.stack(list(found.values())).tolist()
    return {name: round(number, 4) for name, number in zip(found, numbers, strict=True)}


def _finite(recipe: DaeGanRecipe) -> bool:
    values = [value for value in recipe.result.state_dict().values() if value.is_floating_point()]
    # One read from the device for all weights.
    return bool(torch.stack([value.isfinite().all() for value in values]).all())


def _machine() -> dict[str, object]:
    if not torch.cuda.is_available():
        return {"device": "cpu"}
    return {
        "device": torch.cuda.get_device_name(),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }
