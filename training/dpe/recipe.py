"""Recipe of DPE: both stages with the paper's settings (section 4.1)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mimicam.engine.models.dpe.config import PUBLISHED, DpeConfig
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.weights import ImportReport, save_dpe
from mimicam.engine.types import Mode
from mimicam.training.dpe import losses
from mimicam.training.dpe.branches import BranchReport, name_branches
from mimicam.training.dpe.cyclic import Cycle, run_cycle
from mimicam.training.dpe.discriminator import Discriminator
from mimicam.training.dpe.losses import Distance, FaceFeatures, LossWeights
from mimicam.training.trainer import Settings

Batch = dict[str, Tensor]


class Part(NamedTuple):
    """Pairs that run through the networks at once."""

    source: Tensor
    driving: Tensor
    source_landmarks: Tensor
    driving_landmarks: Tensor


GENERATOR_EVERY = 4
DISCRIMINATOR_EVERY = 16
"""Steps between regularisations, as in StyleGAN2 and the published training code.

For the generator only Adam's correction remains: DPE does not regularise it."""


@dataclass(frozen=True, kw_only=True)
class DpeOptions:
    """The paper's settings, for batches of 32. What it does not have is off."""

    stage_one_steps: int = 100_000
    """Steps of the first stage, which trains the whole model. The second trains what
    ``stage_two_parts`` returns."""
    lr_one: float = 0.002
    lr_two: float = 0.0008
    weights: LossWeights = field(default_factory=LossWeights)
    r1: float = 0.0
    """Weight of the discriminator's gradient penalty, 10 in StyleGAN2; 0 leaves it out."""
    ema: float = 0.0
    """Decay of the running average of the weights per step; 0 writes the weights themselves."""
    accumulate: int = 1
    """Number of parts that a batch is split into, one after another, to save memory. The
    discriminator's spread channel then sees one part, so the result is not bit-equal to an unsplit
    batch."""
    bf16: bool = False
    """Compute in bfloat16 where autocast allows. Sampling grids then have 8 bits, which makes
    pictures coarser."""


def stage_two_parts(model: Dpe) -> list[nn.Parameter]:
    """Return the parameters that stage 2 trains: the expression generator and the motion module's
    MLPs (section 4.1)."""
    motion = model.motion
    modules = (model.expression_generator, motion.trunk, motion.expression, motion.pose)
    return [p for module in modules for p in module.parameters()]


def adam(parameters: list[nn.Parameter], lr: float, every: int) -> torch.optim.Adam:
    """Make Adam with betas (0, 0.99) and StyleGAN2's correction for regularising once in ``every``
    steps."""
    # StyleGAN2 scales rate and betas for the extra step of the lazy regularisation.
    ratio = every / (every + 1)
    return torch.optim.Adam(parameters, lr=corrected_rate(lr, every), betas=(0.0, 0.99**ratio))


def corrected_rate(lr: float, every: int) -> float:
    """Return the learning rate with StyleGAN2's correction; see `adam`."""
    return lr * every / (every + 1)


class DpeRecipe:
    """Trains DPE; implements ``training.trainer.Recipe``.

    Batches hold ``source`` and ``target``, two frames of one clip each, and the landmarks of both;
    see `training.dpe.pairs.Batch`. Pictures may also be float in -1..1.
    """

    name = "published"  # as in the checkpoints of earlier versions

    def __init__(
        self,
        distance: Distance,
        features: FaceFeatures,
        options: DpeOptions | None = None,
        *,
        config: DpeConfig = PUBLISHED,
        device: str = "cpu",
        settings: Settings | None = None,
    ) -> None:
        """Args:
        distance: the perceptual distance of equation 9.
        features: the face network of equation 10.
        settings: what a checkpoint is checked against. None: nothing.
        """
        self.settings = settings
        self.options = options or DpeOptions()
        self._device = torch.device(device)
        self._distance, self._features = distance, features
        self.model = Dpe(config).to(self._device)
        self.discriminator = Discriminator(config).to(self._device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        o = self.options
        self._optimisers = {
            "stage_1": adam(list(self.model.parameters()), o.lr_one, GENERATOR_EVERY),
            "stage_2": adam(stage_two_parts(self.model), o.lr_two, GENERATOR_EVERY),
            "discriminator": adam(list(self.discriminator.parameters()), o.lr_one, DISCRIMINATOR_EVERY),
        }
        self._penalty = 0.0

    def modules(self) -> dict[str, nn.Module]:
        """Return the model, its running average and the discriminator."""
        return {"model": self.model, "average": self.average, "discriminator": self.discriminator}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return an optimiser for each stage, and the discriminator's."""
        return dict(self._optimisers)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the model, then the discriminator with the same pictures."""
        stage = "stage_1" if step < self.options.stage_one_steps else "stage_2"
        self._freeze(stage)
        self._pace_discriminator(stage)
        parts = list(self._parts(batch))
        figures, fakes = self._update_model(stage, parts)
        figures |= self._update_discriminator(step, parts, fakes)
        self._follow(step)
        return figures

    @torch.no_grad()
    def sample_grid(self, batch: Batch) -> Tensor:
        """Draw rows: source, driver, then the source with expression, pose, both.

        ``[3, 5 S, N S]``.
        """
        source, driving = (self._picture(batch[key]) for key in ("source", "target"))
        rows = [source, driving, *(self.average.edit(source, driving, mode) for mode in Mode)]
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

    def write_model(self, out: Path, report: BranchReport, *, least: float = 0.5) -> ImportReport:
        """Write the running average as a file that the engine loads, its branches named by their
        measurement.

        Raises:
            EngineError: the measurement cannot tell the branches apart, or the file cannot be
                written.
        """
        model = copy.deepcopy(self.average)
        name_branches(model, report, least=least)
        return save_dpe(model, out)

    def _picture(self, image: Tensor) -> Tensor:
        image = image.to(self._device, non_blocking=True)
        return image if image.is_floating_point() else image.float() / 127.5 - 1

    def _parts(self, batch: Batch) -> Iterator[Part]:
        count, pairs = self.options.accumulate, len(batch["source"])
        if pairs % count:
            raise ValueError(f"accumulate must divide the batch of {pairs}, got {count}")
        pictures = (self._picture(batch[key]) for key in ("source", "target"))
        landmarks = (batch[key].to(self._device) for key in ("source_landmarks", "target_landmarks"))
        for source, driving, *places in zip(
            *(each.chunk(count) for each in (*pictures, *landmarks)), strict=True
        ):
            yield Part(source, driving, *places)

    def _freeze(self, stage: str) -> None:
        self.model.requires_grad_(stage == "stage_1")
        for parameter in stage_two_parts(self.model):
            parameter.requires_grad_(True)

    def _pace_discriminator(self, stage: str) -> None:
        """Give the discriminator the stage's learning rate; it keeps its moments."""
        o = self.options
        # At every step, because checkpoints before 2026-11-26 restore the first stage's rate.
        rate = corrected_rate(o.lr_one if stage == "stage_1" else o.lr_two, DISCRIMINATOR_EVERY)
        for group in self._optimisers["discriminator"].param_groups:
            group["lr"] = rate

    def _terms(self, cycle: Cycle, part: Part) -> dict[str, Tensor]:
        return {
            "reconstruction": losses.reconstruction_loss(cycle),
            "perceptual": losses.perceptual_loss(cycle, self._distance),
            "expression": losses.expression_loss(
                cycle, self._features, part.source_landmarks, part.driving_landmarks
            ),
            "adversarial": losses.adversarial_loss(cycle, self.discriminator),
        }

    def _update_model(
        self, stage: str, parts: list[Part]
    ) -> tuple[dict[str, float], list[tuple[Tensor, ...]]]:
        self.discriminator.requires_grad_(False)
        optimiser = self._optimisers[stage]
        optimiser.zero_grad(set_to_none=True)
        figures: dict[str, float] = {}
        fakes = []
        for part in parts:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.options.bf16):
                cycle = run_cycle(self.model, part.source, part.driving)
                terms = self._terms(cycle, part)
                total = losses.total_loss(terms, self.options.weights)
            # Gradients of the parts add up to those of the mean over the batch.
            torch.autograd.backward(total / len(parts))
            for name, value in ({"total": total} | terms).items():
                figures[name] = figures.get(name, 0.0) + value.item() / len(parts)
            # The discriminator trains on the pictures of this step, without drawing them again.
            fakes.append(tuple(each.detach().float() for each in (cycle.source_2, cycle.driving_2)))
        average_gradients(self.model)
        optimiser.step()
        return figures, fakes

    def _update_discriminator(
        self, step: int, parts: list[Part], fakes: list[tuple[Tensor, ...]]
    ) -> dict[str, float]:
        self.discriminator.requires_grad_(True)
        optimiser = self._optimisers["discriminator"]
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part, fake in zip(parts, fakes, strict=True):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.options.bf16):
                loss = losses.discriminator_loss(self.discriminator, (part.source, part.driving), fake)
            torch.autograd.backward(loss / len(parts))
            total += loss.item() / len(parts)
        average_gradients(self.discriminator)
        optimiser.step()
        if not self.options.r1:
            return {"discriminator": total}
        if step % DISCRIMINATOR_EVERY == 0:
            self._penalty = self._regularise(parts)
        return {"discriminator": total, "penalty": self._penalty}

    def _regularise(self, parts: list[Part]) -> float:
        """Take a step for the gradient penalty alone, weighted by the steps that it stands for."""
        optimiser = self._optimisers["discriminator"]
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in parts:
            real = (part.source, part.driving)
            penalty = losses.gradient_penalty(self.discriminator, real) / len(parts)
            # Weighted by the steps it stands for; half of r1, as the penalty is defined.
            torch.autograd.backward(penalty * (self.options.r1 / 2 * DISCRIMINATOR_EVERY))
            total += penalty.item()
        average_gradients(self.discriminator)
        optimiser.step()
        return total

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        # A short memory at the start, or the average would keep the random weights.
        decay = min(self.options.ema, (step + 1) / (step + 10))
        for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def any_process(stop: bool, device: str) -> bool:
    """Tell whether any process wants to stop. Every process must call it at the same step."""
    flag = torch.tensor(float(stop), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


def average_gradients(module: nn.Module) -> None:
    """Replace every gradient by its mean over the processes of torchrun; do nothing in a single
    process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
