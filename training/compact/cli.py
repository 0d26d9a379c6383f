"""``mimicam train``: train the compact preset on packs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from engine.errors import EngineError
from training.compact.recipe import CompactOptions, CompactRecipe
from training.data.pairs import FramePack, PairSampler
from training.trainer import Trainer, TrainerOptions


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train the compact preset; run it again with the same --out to go on where it stopped."""

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
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
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    threads: int = 0
    """CPU threads; 0 takes all."""
    seed: int = 0

    def run(self) -> None:
        """Train."""
        if not (self.pack / "frames.npy").is_file():
            raise EngineError(f"{self.pack} is not a pack: make one with 'mimicam pack'")
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
        )
        recipe = CompactRecipe(
            options, perceptual=self.perceptual, landmarks=self.landmarks, device=self.device
        )
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"going on at step {trainer.step}")
        pairs = PairSampler(
            FramePack(self.pack, validation=False), size=self.size, batch=self.batch, seed=self.seed
        )
        shown = PairSampler(FramePack(self.pack, validation=True), size=self.size, batch=10, seed=1)
        reached = trainer.run(pairs.stream, shown.batch(0))
        print(f"stopped at step {reached}; the run is in {self.out}")
