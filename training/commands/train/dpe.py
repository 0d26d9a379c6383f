"""``mimicam train-published`` and ``mimicam write-published``: the paper's training, from pack to model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import l1_loss

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.engine.models.dpe.config import PRESETS, DpeConfig
from mimicam.engine.models.dpe.weights import initialise_from_lia
from mimicam.training.data.pairs import FramePack, PairSampler
from mimicam.training.dpe.branches import measure_branches
from mimicam.training.dpe.face import TrackerFeatures
from mimicam.training.dpe.losses import LossWeights
from mimicam.training.dpe.recipe import PublishedOptions, PublishedRecipe, any_process
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.losses.vgg import VggDistance
from mimicam.training.trainer import Trainer, TrainerOptions


@dataclass(frozen=True, kw_only=True)
class TrainPublished:
    """Train the networks of the DPE paper, its way; run again with the same --out to go on.

    For several GPUs start it with torchrun: every process takes its own batches of ``batch`` pairs.
    """

    pack: Path
    """Pack of clips, written by 'mimicam pack'."""
    out: Path
    """Folder of the run."""
    landmarks: Path
    """face_landmarks_478.onnx, for the expression loss."""
    blendshapes: Path
    """face_blendshapes_52.onnx, for the expression loss."""
    vgg: Path | None = None
    """torchvision's vgg19 weights, the paper's perceptual loss; or give --mobilenet."""
    mobilenet: Path | None = None
    """torchvision's mobilenet_v2 weights, instead of --vgg."""
    lia: Path | None = None
    """LIA's vox.pt to start encoder and motion directions from (non-commercial licence)."""
    preset: str = "published"
    batch: int = 32
    """Pairs a step and process."""
    steps: int = 150_000
    """Both stages; the first ends after two thirds, as in the paper."""
    perceptual_weight: float = 20.0
    minutes: float | None = None
    """Stop after this long."""
    accumulate: int = 1
    """Parts a batch is split into to save memory."""
    bf16: bool = False
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    seed: int = 0

    def run(self) -> None:
        """Train."""
        cv2.setNumThreads(1)
        config, (rank, device) = _preset(self.preset), self._join()
        torch.manual_seed(self.seed)
        recipe = PublishedRecipe(
            self._distance().to(device),
            TrackerFeatures(self.landmarks, self.blendshapes).to(device),
            PublishedOptions(
                stage_one_steps=self.steps * 2 // 3,
                weights=LossWeights(perceptual=self.perceptual_weight),
                accumulate=self.accumulate,
                bf16=self.bf16,
            ),
            config=config,
            device=device,
        )
        trainer = self._trainer(recipe, rank, device)
        if trainer.resume():
            print(f"going on at step {trainer.step}")
        elif self.lia is not None:
            print(f"{initialise_from_lia(recipe.model, self.lia)} entries taken from {self.lia.name}")
        pairs = _sampler(self.pack, config, self.batch, validation=False, seed=self.seed + rank)
        shown = _sampler(self.pack, config, 8, validation=True, seed=1).batch(0) if rank == 0 else None
        reached = trainer.run(pairs.stream, shown)
        print(f"stopped at step {reached}; the run is in {self.out}")
        if dist.is_initialized():
            dist.destroy_process_group()

    def _trainer(self, recipe: PublishedRecipe, rank: int, device: str) -> Trainer:
        """Process 0 keeps the run; the others have their curves beside it, and its checkpoint."""
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
        """Join torchrun's group, if there is one; this process's rank and device."""
        if "WORLD_SIZE" not in os.environ:
            return 0, self.device
        cuda = self.device.startswith("cuda")
        dist.init_process_group("nccl" if cuda else "gloo")
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return dist.get_rank(), f"cuda:{local}" if cuda else self.device


@dataclass(frozen=True, kw_only=True)
class WritePublished:
    """Measure which branch of a run is expression and which pose, and write the model under these names."""

    run_folder: Path
    """A run of 'mimicam train-published'."""
    out: Path
    """Ends in .safetensors."""
    pack: Path
    """Pack whose validation people are measured."""
    landmarks: Path
    blendshapes: Path
    preset: str = "published"
    batches: int = 16
    """Of four pairs each."""
    least: float = 0.5
    """What the branches must differ by to be named: a perfect model has 2, an untrained one up to 0.6 over few pairs."""

    def run(self) -> None:
        """Measure, name, write."""
        read = (self.run_folder, self.pack, self.landmarks, self.blendshapes)
        refuse_to_overwrite_inputs([self.out, self.out.with_suffix(".json")], read)
        config = _preset(self.preset)
        reader = TrackerFeatures(self.landmarks, self.blendshapes)
        recipe = PublishedRecipe(l1_loss, reader, config=config)  # takes no step: the distance is not used
        if not Trainer(recipe, TrainerOptions(out=self.run_folder, steps=0)).resume():
            raise EngineError(f"{self.run_folder} holds no checkpoint.pt: give the folder of a run")
        sampler = _sampler(self.pack, config, 4, validation=True, seed=2)
        report = measure_branches(recipe.average.edit, reader.read, _pairs(sampler.batch, self.batches))
        print(report)
        written = recipe.write_model(self.out, report, least=self.least)
        print(f"wrote {written.out}" + (", branches exchanged" if report.swapped else ""))


def _preset(name: str) -> DpeConfig:
    if name not in PRESETS:
        raise EngineError(f"there is no preset '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _sampler(pack: Path, config: DpeConfig, batch: int, *, validation: bool, seed: int) -> PairSampler:
    if not (pack / "frames.npy").is_file():
        raise EngineError(f"{pack} is not a pack: make one with 'mimicam pack'")
    return PairSampler(FramePack(pack, validation=validation), size=config.size, batch=batch, seed=seed)


def _pairs(batch: Callable[[int], dict[str, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    for index in range(count):
        drawn = batch(index)
        yield drawn["source"].float() / 127.5 - 1, drawn["target"].float() / 127.5 - 1
