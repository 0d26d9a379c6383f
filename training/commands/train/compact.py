"""``mimicam train``: train the compact preset on packs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import torch

from mimicam.engine.errors import EngineError
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe
from mimicam.training.compact.weights import load_average
from mimicam.training.data.pairs import FramePack, Mixture, PairSampler
from mimicam.training.trainer import Trainer, TrainerOptions


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train the compact preset; run it again with the same --out to go on where it stopped."""

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
    synthetic: Path | None = None
    """Pack of rendered quadruples, written by 'mimicam pack-synthetic'."""
    synthetic_share: float = 0.125
    """Of each batch."""
    fitted: Path | None = None
    """Pack of portraits with other expressions put on them, written by 'python -m mimicam.training.synthetic fitted'."""
    fitted_share: float = 0.125
    """Of each batch."""
    out: Path
    """Folder of the run: checkpoint, curve, sample grids."""
    size: int = 256
    """Side of the training pictures."""
    batch: int = 16
    steps: int = 20_000
    first_step: int = 0
    """Where this stage's learning-rate curve begins."""
    lr: float = 4e-4
    lr_final: float = 5e-5
    minutes: float | None = None
    """Stop after this long."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights."""
    perceptual_weight: float = 0.1
    landmarks: Path | None = None
    """The tracker's landmark network as ONNX, for the expression loss."""
    landmark_weight: float = 2.0
    strangers: int = 0
    """So many portraits of each batch are also driven by another person; their landmarks are held to where they were
    sent. Wants --landmarks."""
    stranger_weight: float = 1.0
    """Of that, over --landmark-weight."""
    gan: float = 0.0
    """Weight of a discriminator's opinion, for a last stage (0.02 is a start); 0 trains without one."""
    gan_parts: float = 0.0
    """Weight of the opinions of two more, of the mouth and of the eyes."""
    gan_features: float = 1.0
    """Weight of matching a discriminator's features, where there is one."""
    weights: Path | None = None
    """Start a new run from these averaged weights: a checkpoint, also a small one of a GPU session."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    threads: int = 0
    """CPU threads; 0 takes all."""
    seed: int = 0

    def run(self) -> None:
        """Train."""
        if not (self.pack / "frames.npy").is_file():
            raise EngineError(f"{self.pack} is not a pack: make one with 'mimicam pack'")
        if self.strangers and self.landmarks is None:
            raise EngineError("--strangers wants --landmarks: nothing else says how they should look")
        if self.threads:
            torch.set_num_threads(self.threads)
        cv2.setNumThreads(1)
        torch.manual_seed(self.seed)
        options = CompactOptions(
            lr=self.lr,
            lr_final=self.lr_final,
            steps=self.steps,
            first_step=self.first_step,
            perceptual=self.perceptual_weight,
            landmark=self.landmark_weight,
            stranger=self.stranger_weight,
            gan=self.gan,
            gan_parts=self.gan_parts,
            gan_features=self.gan_features,
        )
        recipe = CompactRecipe(
            options, perceptual=self.perceptual, landmarks=self.landmarks, device=self.device
        )
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"going on at step {trainer.step}")
        elif self.weights is not None:
            recipe.start_from(load_average(self.weights))
        pairs = self._pairs()
        shown = PairSampler(FramePack(self.pack, validation=True), size=self.size, batch=10, seed=1)
        reached = trainer.run(pairs.stream, shown.batch(0))
        print(f"stopped at step {reached}; the run is in {self.out}")

    def _pairs(self) -> Mixture:
        draw = partial(PairSampler, size=self.size, seed=self.seed)
        beside = [
            (pack, round(self.batch * share))
            for pack, share in ((self.synthetic, self.synthetic_share), (self.fitted, self.fitted_share))
            if pack is not None and round(self.batch * share)
        ]
        left = self.batch - sum(count for _, count in beside)
        if left < 1:
            raise EngineError("the shares of rendered pictures leave no clips in a batch: lower them")
        clips = draw(FramePack(self.pack, validation=False), batch=left, strangers=min(self.strangers, left))
        return Mixture([clips, *(draw(FramePack(p, validation=False), batch=count) for p, count in beside)])
