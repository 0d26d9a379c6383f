"""``mimicam train daegan``: train DAE-GAN on packs, and write the model that the engine loads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.network import DAEGAN, DAEGAN_DEBUG, DAEGAN_SMALL
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan
from mimicam.training.daegan.recipe import DaeGanOptions, DaeGanRecipe
from mimicam.training.daegan.videos import VideoSampler
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack
from mimicam.training.trainer import Trainer, TrainerOptions, read_checkpoint

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
    weights: Path | None = None
    """model.safetensors or checkpoint.pt of a former run to start from, as the paper fine-tunes on RaFD; a
    checkpoint also gives the discriminator. --stage-one-steps 0 trains all networks at once."""
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
    stage_one_epochs: float | None = None
    """Length of the first stage in passes over the frames, in the place of --stage-one-steps. The paper has
    30."""
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
            stage_one_steps=self._stage_one_steps(),
            lr=self.lr,
            lr_discriminator=4 * self.lr,
        )
        recipe = DaeGanRecipe(options, config=_PRESETS[self.preset], device=self.device)
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"continuing at step {trainer.step}")
        elif self.weights is not None:
            start_from(recipe, self.weights)
        sampler, shown = (self._sampler(validation=validation) for validation in (False, True))
        reached = trainer.run(sampler.stream, shown.batch(0))
        save_daegan(recipe.model, self.out / "model.safetensors")
        print(f"stopped at step {reached}; the run and model.safetensors are in {self.out}")

    def _stage_one_steps(self) -> int:
        """Return the first stage's steps. In an epoch as many targets are drawn as there are frames."""
        if self.stage_one_epochs is None:
            return self.stage_one_steps
        frames = len(FramePack(self.pack, validation=False).indices)
        return math.ceil(self.stage_one_epochs * frames / self.batch)

    def _sampler(self, *, validation: bool) -> VideoSampler:
        return VideoSampler(
            FramePack(self.pack, validation=validation),
            size=_PRESETS[self.preset].size,
            frames=self.frames,
            batch=self.batch,
            seed=self.seed,
        )


def start_from(recipe: DaeGanRecipe, path: Path) -> None:
    """Load the weights of a model, or those of model and discriminator of a checkpoint.

    Raises:
        EngineError: the file is missing or damaged, or its networks have another size.
    """
    if path.suffix == ".safetensors":
        states = {"model": load_daegan(path).state_dict()}
    elif not path.is_file():
        raise EngineError(f"{path} does not exist: give model.safetensors or checkpoint.pt of a run")
    else:
        state = read_checkpoint(path)
        if state["recipe"] != recipe.name:
            raise EngineError(
                f"{path} is of recipe '{state['recipe']}', not '{recipe.name}': give another file"
            )
        states = state["modules"]
    modules = recipe.modules()
    for name, values in states.items():
        own = modules[name].state_dict()
        if own.keys() != values.keys() or any(own[k].shape != v.shape for k, v in values.items()):
            raise EngineError(f"{path} has networks of another size: give its --preset")
        modules[name].load_state_dict(values)
