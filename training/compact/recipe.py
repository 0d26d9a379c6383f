"""Recipe of the compact preset: pairs of one person, multi-scale reconstruction, perceptual
features."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.network import Compact
from mimicam.engine.models.compact.spec import CompactConfig
from mimicam.training.compact.adversary import Adversary, AdversaryOptions, Drawn, Part
from mimicam.training.compact.losses import attention_map, flow_roughness, gradient_l1, pyramid_l1
from mimicam.training.data.pairs import CROSS, TRAINED
from mimicam.training.losses.landmarks import LandmarkLoss
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.optimiser import guarded_adam, step_if_finite
from mimicam.training.trainer import channels_last

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class CompactOptions:
    """Learning rates and weights of the losses."""

    lr: float = 4e-4
    """Learning rate after the warm-up. At 1e-3 without gradient clipping, training diverged."""
    lr_final: float = 5e-5
    warmup: int = 100
    steps: int = 20_000
    """Length of the cosine from ``lr`` to ``lr_final``."""
    first_step: int = 0
    """Step at which the cosine begins; each stage has its own."""
    clip: float = 1.0
    ema: float = 0.998
    perceptual: float = 0.1
    gradient: float = 0.5
    warped: float = 0.3
    rough: float = 0.01
    landmark: float = 2.0
    landmark_samples: int = 3
    """Pictures of each batch that it is computed for: the landmark network costs half as much as
    the model's own step."""
    cross_identity: float = 1.0
    """Weight of the landmark loss of portraits that another person drives, relative to
    ``landmark``."""
    gan: float = 0.0
    """Weight of the adversarial loss of the whole picture; 0 trains without a discriminator."""
    gan_parts: float = 0.0
    """Weight of the adversarial losses of mouth and eyes."""
    gan_features: float = 1.0
    """Weight of feature matching, if there is a discriminator."""
    gan_lr: float = 2e-4
    gan_warmup: int = 300


@torch.no_grad()
def fit_sharpness(model: Compact, head_scale: float = 0.4) -> None:
    """Start each control point's Gaussian at the width of its neighbourhood on the mean face.

    Lids and lips stand close and must move apart; cheeks stand far apart and must move together.
    """
    points = torch.from_numpy(face_geometry().mean[CONTROL, :2]) * head_scale
    # Mean distance of the three nearest neighbours; column 0 is the point itself.
    nearest = torch.cdist(points, points).sort(dim=1).values[:, 1:4].mean(dim=1)
    sigma = (0.7 * nearest).clamp(0.02, 0.12)
    model.generator.flow.log_sharpness.copy_(-(2 * sigma**2).log())


class CompactRecipe:
    """Trains the compact preset; implements `training.trainer.Recipe`."""

    name = "compact"
    optional_modules = frozenset({"judge_picture", "judge_mouth", "judge_eyes"})
    """Discriminators, under the names that checkpoints have for them. Runs without --gan lack
    them."""

    def __init__(
        self,
        options: CompactOptions | None = None,
        *,
        config: CompactConfig | None = None,
        perceptual: Path | None = None,
        landmarks: Path | None = None,
        device: str = "cpu",
        time_share: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Args:
        time_share: share of the available time that has passed, 0..1. The learning rate follows the
            steps or the time, whichever is further.
        """
        self._options = options or CompactOptions()
        self._time_share = time_share
        self._device = torch.device(device)
        model = Compact(config)
        fit_sharpness(model)
        self.model = channels_last(model, self._device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self._optimiser = guarded_adam(self.model.parameters(), lr=self._options.lr, betas=(0.9, 0.99))
        self._weights: list[Tensor] = list(self.model.parameters())
        self._averaged: list[Tensor] = list(self.average.parameters())
        self.skipped = torch.zeros((), device=self._device)
        """Number of steps skipped because their gradients were not finite."""
        self._distance = (
            None if perceptual is None else channels_last(MobileNetDistance(perceptual), self._device)
        )
        self._landmarks = None if landmarks is None else LandmarkLoss(landmarks).to(self._device)
        self._adversaries = self._make_adversaries()

    def _make_adversaries(self) -> list[Adversary]:
        o = self._options
        weights: dict[Part, float] = {"picture": o.gan, "mouth": o.gan_parts, "eyes": o.gan_parts}
        return [
            Adversary(
                part,
                AdversaryOptions(weight=weight, features=o.gan_features, lr=o.gan_lr, warmup=o.gan_warmup),
                self._device,
            )
            for part, weight in weights.items()
            if weight
        ]

    def modules(self) -> dict[str, nn.Module]:
        """Return the weights, their running average, and the discriminators, if any."""
        discriminators = {f"judge_{a.part}": a.discriminator for a in self._adversaries}
        return {"model": self.model, "average": self.average, **discriminators}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one Adam per module that is trained."""
        discriminators = {f"judge_{a.part}": a.optimiser for a in self._adversaries}
        return {"model": self._optimiser, **discriminators}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load another run's averaged weights. The optimisers start from zero, so a warm-up is
        needed.

        Raises:
            EngineError: the weights are of other widths.
        """
        try:
            for module in (self.model, self.average):
                module.load_state_dict(weights)
        except RuntimeError as error:
            raise EngineError(
                "these weights do not fit the compact preset of this version: train from nothing"
            ) from error

    def step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Update the weights once.

        The losses stay on the device: reading them would make the host wait for the step.
        """
        batch = self._prepare(batch)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.model, batch)
        losses = self._losses(out, batch)
        cross_identity = self._cross_identity(batch)
        if cross_identity is not None:
            losses |= self._cross_identity_loss(cross_identity, batch)
        result = Drawn(image=out["image"], points=batch["target_points"], head=batch["head"])
        seen = (result, batch["target"], cross_identity)
        for adversary in self._adversaries:
            losses |= adversary.losses(*seen)
        total = torch.stack(list(losses.values())).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._options.clip)
        # Check norm and loss: the gradient of an absolute value is finite even where the value is
        # not.
        self.skipped += step_if_finite(self._optimiser, norm + total.detach())
        self._follow(step)
        for adversary in self._adversaries:
            losses[f"discriminator_{adversary.part}"] = adversary.update(*seen)
        return {"total": total.detach(), "norm": norm, **{k: v.detach() for k, v in losses.items()}}

    @torch.no_grad()
    def figures(self, batch: Batch) -> dict[str, float]:
        """Compute the PSNR in dB of the averaged weights on a batch, and of copying the source."""
        batch = self._prepare(batch)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.average, batch)
        target = batch["target"]
        return {"psnr": _psnr(out["image"].clamp(-1, 1), target), "psnr_copy": _psnr(batch["source"], target)}

    @torch.no_grad()
    def sample_grid(self, batch: Batch) -> Tensor:
        """Draw rows: source, target, result, warped picture, visibility."""
        batch = self._prepare(batch)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.average, batch)
        visibility = out["visibility"].expand(-1, 3, -1, -1) * 2 - 1
        rows = [batch["source"], batch["target"], out["image"], out["warped"], visibility]
        return torch.cat([torch.cat(list(row.float()), dim=2) for row in rows], dim=1)

    def _prepare(self, batch: Batch) -> Batch:
        moved = {k: v.to(self._device, non_blocking=True) for k, v in batch.items()}
        for key in ("source", "target"):
            # Pictures travel as bytes, a quarter of the size.
            image = moved[key].float() / 127.5 - 1
            moved[key] = image.to(memory_format=torch.channels_last)
        return moved

    def _forward(self, model: Compact, batch: Batch) -> dict[str, Tensor]:
        out: dict[str, Tensor] = model(batch["source"], **{name: batch[name] for name in TRAINED})
        return out

    def _losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        o, target = self._options, batch["target"]
        weight = attention_map(
            batch["target_points"], batch["head"], batch["opening_masks"], target.shape[-1]
        )
        losses = {
            "l1": pyramid_l1(out["image"], target, weight),
            "gradient": o.gradient * gradient_l1(out["image"], target, weight),
            "warped": o.warped * pyramid_l1(out["warped"], target, weight),
            "rough": o.rough * flow_roughness(out["flow"]),
        }
        if self._distance is not None:
            with torch.autocast(self._device.type, torch.bfloat16):
                losses["perceptual"] = o.perceptual * self._distance(out["image"], target)
        if self._landmarks is not None:
            # The first pairs of a batch are of the main pack: real people.
            few = slice(0, o.landmark_samples)
            found = self._landmarks(out["image"][few], batch["target_landmarks"][few])
            losses["landmark"] = o.landmark * found
        return losses

    def _cross_identity(self, batch: Batch) -> Drawn | None:
        """Draw portraits driven by another person; see
        `training.data.pairs.cross_identity_drives`."""
        drive = {n.removeprefix(CROSS): v for n, v in batch.items() if n.startswith(CROSS)}
        if not drive:
            return None
        with torch.autocast(self._device.type, torch.bfloat16):
            image = self._forward(self.model, {"source": batch["source"][: len(drive["head"])], **drive})[
                "image"
            ]
        return Drawn(image=image, points=drive["target_points"], head=drive["head"])

    def _cross_identity_loss(self, cross_identity: Drawn, batch: Batch) -> dict[str, Tensor]:
        """Compute the landmark loss across people: the result's landmarks against where the motion
        sends them."""
        if self._landmarks is None:
            return {}
        o = self._options
        found = self._landmarks(cross_identity.image, batch[f"{CROSS}landmarks"])
        return {"cross_identity": o.cross_identity * o.landmark * found}

    def _rate(self, step: int) -> float:
        o = self._options
        # A session with a time limit anneals by time if it is slower than planned.
        done = max((step - o.first_step) / max(o.steps - o.first_step, 1), self._time_share())
        cosine = 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
        return min(1.0, (step - o.first_step + 1) / o.warmup) * (o.lr_final + (o.lr - o.lr_final) * cosine)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        # A short memory at the start, or the average would keep the random weights.
        decay = min(self._options.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._averaged, self._weights, 1 - decay)


def _psnr(image: Tensor, target: Tensor) -> float:
    """Mean PSNR over the batch, dB; pictures in [-1, 1]."""
    error = ((image.float() - target.float()) ** 2).mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.clamp_min(1e-8).log10()).mean())
