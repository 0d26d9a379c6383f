"""``mimicam train daegan``: train DAE-GAN on packs, and write the model that the engine loads."""

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
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack
from mimicam.training.trainer import Trainer, TrainerOptions

_PRESETS = {preset.name: preset for preset in (DAEGAN, DAEGAN_SMALL, DAEGAN_DEBUG)}


@dataclass(frozen=True, kw_only=True)
class TrainDaeGan:
    """Train DAE-GAN on clips, then write model.safetensors to --out.

    Run it again with the same --out to continue.
    """

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    out: Path
    """Folder of the run: checkpoint, loss curve, sample grids, model.safetensors."""
    preset: str = "daegan"
    """Size of the networks: daegan (256 pixels), daegan-small (64 pixels) or daegan-debug."""
    frames: int = 8
    """Frames of one video that the embedder fuses into one face."""
    batch: int = 8
    """Videos per step."""
    steps: int = 100_000
    """Step at which the run ends and the learning rates reach 0."""
    stage_one_steps: int = 30_000
    """Steps of the first stage, which trains the embedders only."""
    lr: float = 1e-4
    """Learning rate of the embedders and the generator (section 4). The discriminator's is four
    times as high."""
    minutes: float | None = None
    """Stop after this many minutes."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device that trains."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def run(self) -> None:
        """Train, then write the model."""
        if self.preset not in _PRESETS:
            raise EngineError(f"there is no preset '{self.preset}': choose one of {', '.join(_PRESETS)}")
        check_pack(self.pack)
        cv2.setNumThreads(1)
        torch.manual_seed(self.seed)
        options = DaeGanOptions(
            steps=self.steps,
            stage_one_steps=self.stage_one_steps,
            lr=self.lr,
            lr_discriminator=4 * self.lr,
        )
        recipe = DaeGanRecipe(options, config=_PRESETS[self.preset], device=self.device)
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"continuing at step {trainer.step}")
        sampler, shown = (self._sampler(validation=validation) for validation in (False, True))
        reached = trainer.run(sampler.stream, shown.batch(0))
        save_daegan(recipe.model, self.out / "model.safetensors")
        print(f"stopped at step {reached}; the run and model.safetensors are in {self.out}")

    def _sampler(self, *, validation: bool) -> VideoSampler:
        return VideoSampler(
            FramePack(self.pack, validation=validation),
            size=_PRESETS[self.preset].size,
            frames=self.frames,
            batch=self.batch,
            seed=self.seed,
        )
