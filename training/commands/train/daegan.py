"""``mimicam train-daegan``: train DAE-GAN on packs, and write what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.network import DAEGAN, DAEGAN_DEBUG, DAEGAN_SMALL
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.training.daegan.recipe import DaeGanOptions, DaeGanRecipe
from mimicam.training.daegan.videos import VideoSampler
from mimicam.training.data.pairs import FramePack
from mimicam.training.trainer import Trainer, TrainerOptions

_PRESETS = {preset.name: preset for preset in (DAEGAN, DAEGAN_SMALL, DAEGAN_DEBUG)}


@dataclass(frozen=True, kw_only=True)
class TrainDaeGan:
    """Train DAE-GAN on clips; run again with the same --out to go on. Ends with model.safetensors in --out."""

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
    out: Path
    """Folder of the run."""
    preset: str = "daegan"
    frames: int = 8
    """Frames of a video that are fused into one face."""
    batch: int = 8
    steps: int = 100_000
    stage_one_steps: int = 30_000
    """Embedders only, up to here."""
    lr: float = 1e-4
    """Of the embedders and the generator (section 4); the discriminator's is four times that."""
    minutes: float | None = None
    """Stop after this long."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    seed: int = 0

    def run(self) -> None:
        """Train, then write the model."""
        if self.preset not in _PRESETS:
            raise EngineError(f"there is no preset '{self.preset}': choose one of {', '.join(_PRESETS)}")
        if not (self.pack / "frames.npy").is_file():
            raise EngineError(f"{self.pack} is not a pack: make one with 'mimicam pack'")
        cv2.setNumThreads(1)
        torch.manual_seed(self.seed)
        config = _PRESETS[self.preset]
        options = DaeGanOptions(
            steps=self.steps,
            stage_one_steps=self.stage_one_steps,
            lr=self.lr,
            lr_discriminator=4 * self.lr,
        )
        recipe = DaeGanRecipe(options, config=config, device=self.device)
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"going on at step {trainer.step}")
        sampler, shown = (
            VideoSampler(
                FramePack(self.pack, validation=validation),
                size=config.size,
                frames=self.frames,
                batch=self.batch,
                seed=self.seed,
            )
            for validation in (False, True)
        )
        reached = trainer.run(sampler.stream, shown.batch(0))
        save_daegan(recipe.model, self.out / "model.safetensors")
        print(f"stopped at step {reached}; the run and model.safetensors are in {self.out}")
