"""``mimicam train dpe``: the training of the DPE paper, on packs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from mimicam.engine.errors import EngineError
from mimicam.engine.models.dpe.config import PRESETS, DpeConfig
from mimicam.engine.models.dpe.weights import initialise_from_lia
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack
from mimicam.training.dpe.face import TrackerFeatures
from mimicam.training.dpe.losses import LossWeights
from mimicam.training.dpe.pairs import PairBatches, open_pairs
from mimicam.training.dpe.recipe import DpeOptions, DpeRecipe, any_process
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.losses.vgg import VggDistance
from mimicam.training.trainer import Settings, Trainer, TrainerOptions, set_threads


@dataclass(frozen=True, kw_only=True)
class TrainDpe:
    """Train DPE as its paper does. Run it again with the same --out to continue.

    To use several GPUs, start it with torchrun: each process draws batches of its own.
    """

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    out: Path
    """Folder of the run: checkpoint, loss curve, sample grids."""
    landmarks: Path
    """face_landmarks_478.onnx, for the expression loss."""
    blendshapes: Path
    """face_blendshapes_52.onnx, for the expression loss."""
    vgg: Path | None = None
    """torchvision's vgg19 weights, for the paper's perceptual loss. Give either this or
    --mobilenet."""
    mobilenet: Path | None = None
    """torchvision's mobilenet_v2 weights, for a perceptual loss without VGG19."""
    lia: Path | None = None
    """LIA's vox.pt (non-commercial licence): initial weights of the encoder and the motion
    directions."""
    preset: str = "published"
    """Size of the networks: published (256 pixels), small (64 pixels) or debug."""
    pairs: str = "random"
    """random: two frames of a clip, as in the paper. mined: frames that differ, with scale, shift,
    roll, colour and mirror, as 'mimicam train compact' draws them."""
    batch: int = 32
    """Pairs per step, of all processes together."""
    steps: int = 150_000
    """Steps of both stages together; the first takes two thirds, as in the paper."""
    perceptual_weight: float = 20.0
    """Weight of the perceptual loss (equation 12)."""
    r1: float = 0.0
    """Weight of a gradient penalty on the discriminator. The paper has none; StyleGAN2 has 10."""
    ema: float = 0.0
    """Decay of a running average of the weights, which is then what is written. The paper has none;
    0.999 smooths over 1000 steps."""
    minutes: float | None = None
    """Stop after this many minutes."""
    accumulate: int = 1
    """Number of parts that each batch is split into, to save memory."""
    bf16: bool = False
    """Compute in bfloat16 where autocast allows; pictures are then coarser."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device that trains; under torchrun each process takes its own GPU."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def run(self) -> None:
        """Train until the last step, the time limit, or Ctrl-C."""
        set_threads(0)
        config, (rank, device) = find_preset(self.preset), self._join()
        torch.manual_seed(self.seed)
        recipe = self._recipe(config, device)
        trainer = self._trainer(recipe, rank, device)
        if trainer.resume():
            print(f"continuing at step {trainer.step}")
        elif self.lia is not None:
            print(f"{initialise_from_lia(recipe.model, self.lia)} entries taken from {self.lia.name}")
        draw = partial(make_batches, self.pack, config, kind=self.pairs)
        # A seed for each process, or all of them would draw the same pairs.
        pairs = draw(batch=self._share(), validation=False, seed=self.seed + rank)
        shown = draw(batch=8, validation=True, seed=1).batch(0) if rank == 0 else None
        reached = trainer.run(pairs.stream, shown)
        print(f"stopped at step {reached}; the run is in {self.out}")
        if dist.is_initialized():
            dist.destroy_process_group()

    def _recipe(self, config: DpeConfig, device: str) -> DpeRecipe:
        options = DpeOptions(
            stage_one_steps=self.steps * 2 // 3,
            weights=LossWeights(perceptual=self.perceptual_weight),
            r1=self.r1,
            ema=self.ema,
            accumulate=self.accumulate,
            bf16=self.bf16,
        )
        return DpeRecipe(
            self._distance().to(device),
            TrackerFeatures(self.landmarks, self.blendshapes).to(device),
            options,
            config=config,
            device=device,
            settings=self._settings(),
        )

    def _settings(self) -> Settings:
        # Options that change what a step computes: a run must not go on with others.
        now = {
            "--pairs": self.pairs,
            "--batch": str(self.batch),
            "--r1": f"{self.r1:g}",
            "--ema": f"{self.ema:g}",
        }
        return Settings(now=now, former={"--pairs": "mined", "--r1": "10", "--ema": "0.999"})

    def _share(self) -> int:
        """Return this process's pairs per step."""
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if self.batch % processes:
            raise EngineError(
                f"--batch {self.batch} is not divided by {processes} processes: give a multiple of them"
            )
        return self.batch // processes

    def _trainer(self, recipe: DpeRecipe, rank: int, device: str) -> Trainer:
        """Make the trainer.

        Process 0 writes the checkpoint; the others only write curves, and read it.
        """
        options = TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes)
        if not dist.is_initialized():
            return Trainer(recipe, options)
        if rank:
            options = replace(options, out=self.out / f"process-{rank}", leader=self.out)
        return Trainer(recipe, options, agree=lambda stop: any_process(stop, device))

    def _distance(self) -> torch.nn.Module:
        if (self.vgg is None) == (self.mobilenet is None):
            raise EngineError("the perceptual loss needs weights: give one of --vgg and --mobilenet")
        return VggDistance(self.vgg) if self.vgg else MobileNetDistance(self.mobilenet or Path())

    def _join(self) -> tuple[int, str]:
        """Join torchrun's process group, if there is one; return this process's rank and device."""
        if "WORLD_SIZE" not in os.environ:
            return 0, self.device
        cuda = self.device.startswith("cuda")
        dist.init_process_group("nccl" if cuda else "gloo")
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return dist.get_rank(), f"cuda:{local}" if cuda else self.device


def find_preset(name: str) -> DpeConfig:
    """Return a configuration of the networks by its name.

    Raises:
        EngineError: there is none of this name.
    """
    if name not in PRESETS:
        raise EngineError(f"there is no preset '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def make_batches(
    pack: Path, config: DpeConfig, batch: int, *, kind: str, validation: bool, seed: int
) -> PairBatches:
    """Draw pairs of frames of one split of a pack, at the size of the networks.

    Args:
        kind: one of `training.dpe.pairs.PAIRS`.

    Raises:
        EngineError: the folder is not a pack, or this split has no pair.
    """
    check_pack(pack)
    draw = open_pairs(kind, FramePack(pack, validation=validation), config.size)
    return PairBatches(draw, batch=batch, seed=seed)
