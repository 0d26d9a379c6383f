"""The compact preset's recipe: pairs of one person, multi-scale reconstruction, perceptual features."""

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
from mimicam.training.compact.landmark_loss import LandmarkLoss
from mimicam.training.compact.losses import attention_map, flow_roughness, gradient_l1, pyramid_l1
from mimicam.training.data.pairs import STRANGER, TRAINED
from mimicam.training.optimiser import guarded_adam, step_if_finite
from mimicam.training.perceptual import MobileNetDistance
from mimicam.training.trainer import channels_last

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class CompactOptions:
    """Rates and weights; the comments say what was measured."""

    lr: float = 4e-4
    """At 1e-3 without clipping the prototype diverged."""
    lr_final: float = 5e-5
    warmup: int = 100
    steps: int = 20_000
    """Length of the cosine from ``lr`` to ``lr_final``."""
    first_step: int = 0
    """Where this cosine begins: a later stage starts its own."""
    clip: float = 1.0
    ema: float = 0.998
    perceptual: float = 0.1
    gradient: float = 0.5
    warped: float = 0.3
    rough: float = 0.01
    landmark: float = 2.0
    landmark_samples: int = 3
    """Of each batch: the landmark network costs half as much as the model's own step."""
    stranger: float = 1.0
    """Weight of the landmarks of portraits that another person drives (where a batch has such), over ``landmark``."""
    gan: float = 0.0
    """Weight of the opinion of the whole picture's discriminator; 0 trains without one."""
    gan_parts: float = 0.0
    """The same of the mouth's and the eyes'."""
    gan_features: float = 1.0
    """Weight of feature matching, where there is a discriminator."""
    gan_lr: float = 2e-4
    gan_warmup: int = 300


@torch.no_grad()
def fit_sharpness(model: Compact, head_scale: float = 0.4) -> None:
    """Start each control point's Gaussian at the width of its neighbourhood on the mean face.

    Lids and lips stand close and must move apart; cheeks stand far apart and must move together.
    """
    points = torch.from_numpy(face_geometry().mean[CONTROL, :2]) * head_scale
    nearest = torch.cdist(points, points).sort(dim=1).values[:, 1:4].mean(dim=1)
    sigma = (0.7 * nearest).clamp(0.02, 0.12)
    model.generator.flow.log_sharpness.copy_(-(2 * sigma**2).log())


class CompactRecipe:
    """See `training.trainer.Recipe`."""

    name = "compact"
    late = frozenset({"judge_picture", "judge_mouth", "judge_eyes"})
    """A later stage's modules: a checkpoint of before may lack them."""

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
        """``time_share``: of the time there is, 0..1: the rate has fallen when either steps or time are over."""
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
        """Steps that were not taken because their gradients were not finite."""
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
        """The weights, their running average, and the discriminators where there are any."""
        judges = {f"judge_{a.part}": a.discriminator for a in self._adversaries}
        return {"model": self.model, "average": self.average, **judges}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam a module that learns."""
        judges = {f"judge_{a.part}": a.optimiser for a in self._adversaries}
        return {"model": self._optimiser, **judges}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with another run's averaged weights; optimisers start anew, so give the run a warm-up.

        Raises:
            EngineError: they are of other widths.
        """
        try:
            for module in (self.model, self.average):
                module.load_state_dict(weights)
        except RuntimeError as error:
            raise EngineError(
                "these weights do not fit the compact preset of this version: train from nothing"
            ) from error

    def step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """One update. The losses stay on the device: reading them would make the host wait for the step."""
        batch = self._prepare(batch)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.model, batch)
        losses = self._losses(out, batch)
        strangers = self._strangers(batch)
        if strangers is not None:
            losses |= self._stranger_loss(strangers, batch)
        result = Drawn(image=out["image"], points=batch["target_points"], head=batch["head"])
        seen = (result, batch["target"], strangers)
        for adversary in self._adversaries:
            losses |= adversary.losses(*seen)
        total = torch.stack(list(losses.values())).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._options.clip)
        # Both: the gradient of an absolute value is finite where the value is not.
        self.skipped += step_if_finite(self._optimiser, norm + total.detach())
        self._follow(step)
        for adversary in self._adversaries:
            losses[f"judge_{adversary.part}"] = adversary.learn(*seen)
        return {"total": total.detach(), "norm": norm, **{k: v.detach() for k, v in losses.items()}}

    @torch.no_grad()
    def figures(self, batch: Batch) -> dict[str, float]:
        """PSNR in dB of the averaged weights on a batch, and of copying the source."""
        batch = self._prepare(batch)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.average, batch)
        target = batch["target"]
        return {"psnr": _psnr(out["image"].clamp(-1, 1), target), "psnr_copy": _psnr(batch["source"], target)}

    @torch.no_grad()
    def sample_grid(self, batch: Batch) -> Tensor:
        """Rows: source, target, result, warped picture, mask."""
        batch = self._prepare(batch)
        with torch.autocast(self._device.type, torch.bfloat16):
            out = self._forward(self.average, batch)
        mask = out["mask"].expand(-1, 3, -1, -1) * 2 - 1
        rows = [batch["source"], batch["target"], out["image"], out["warped"], mask]
        return torch.cat([torch.cat(list(row.float()), dim=2) for row in rows], dim=1)

    def _prepare(self, batch: Batch) -> Batch:
        moved = {k: v.to(self._device, non_blocking=True) for k, v in batch.items()}
        for key in ("source", "target"):
            image = moved[key].float() / 127.5 - 1
            moved[key] = image.to(memory_format=torch.channels_last)
        return moved

    def _forward(self, model: Compact, batch: Batch) -> dict[str, Tensor]:
        out: dict[str, Tensor] = model(batch["source"], **{name: batch[name] for name in TRAINED})
        return out

    def _losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        o, target = self._options, batch["target"]
        weight = attention_map(batch["target_points"], batch["head"], batch["openings"], target.shape[-1])
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
            few = slice(0, o.landmark_samples)
            found = self._landmarks(out["image"][few], batch["target_landmarks"][few])
            losses["landmark"] = o.landmark * found
        return losses

    def _strangers(self, batch: Batch) -> Drawn | None:
        """Portraits as another person drives them; see `training.data.pairs.stranger_drives`."""
        drive = {n.removeprefix(STRANGER): v for n, v in batch.items() if n.startswith(STRANGER)}
        if not drive:
            return None
        with torch.autocast(self._device.type, torch.bfloat16):
            image = self._forward(self.model, {"source": batch["source"][: len(drive["head"])], **drive})[
                "image"
            ]
        return Drawn(image=image, points=drive["target_points"], head=drive["head"])

    def _stranger_loss(self, strangers: Drawn, batch: Batch) -> dict[str, Tensor]:
        """The expression loss (equation 10) across people: the result's landmarks are where they were sent."""
        if self._landmarks is None:
            return {}
        o = self._options
        found = self._landmarks(strangers.image, batch[f"{STRANGER}landmarks"])
        return {"stranger": o.stranger * o.landmark * found}

    def _rate(self, step: int) -> float:
        o = self._options
        done = max((step - o.first_step) / max(o.steps - o.first_step, 1), self._time_share())
        cosine = 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
        return min(1.0, (step - o.first_step + 1) / o.warmup) * (o.lr_final + (o.lr - o.lr_final) * cosine)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        decay = min(self._options.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._averaged, self._weights, 1 - decay)


def _psnr(image: Tensor, target: Tensor) -> float:
    """Mean over the batch, dB; pictures in [-1, 1]."""
    error = ((image.float() - target.float()) ** 2).mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.clamp_min(1e-8).log10()).mean())
