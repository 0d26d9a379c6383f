"""What the other losses leave soft: discriminators that judge patches (an optional last stage).

One judges the whole picture at two sizes; two more see only what the eye goes to, the mouth and the eyes, cut out about
the true landmarks (component discriminators as in GFP-GAN, Wang et al., CVPR 2021). Hinge loss and feature matching, as in
DAE-GAN's equations 6 and 7, with spectral normalisation. A discriminator learns alone first: an untrained one would pull
good weights apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.landmark_flow import pixel_grid
from mimicam.training.compact.losses import middle
from mimicam.training.daegan.discriminator import Judgement, PatchDiscriminator
from mimicam.training.daegan.losses import discriminator_loss, feature_matching_loss, generator_loss
from mimicam.training.optimiser import guarded_adam, step_if_finite
from mimicam.training.trainer import channels_last

_CONTROL = CONTROL.tolist()
_LIPS = [_CONTROL.index(i) for i in (13, 14, 61, 291)]
_EYES = [[_CONTROL.index(i) for i in eye] for eye in ((33, 133, 159, 145), (263, 362, 386, 374))]
_MOUTH_HALF, _MOUTH_PX = 0.65, 64
_EYE_HALF, _EYE_PX = 0.42, 48
"""Half a side in head scales (about 58 mm), and the side in pixels: near the resolution of a 256 crop."""

Part = Literal["picture", "mouth", "eyes"]
View = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What a discriminator sees of pictures ``[N, 3, S, S]``, control points ``[N, K, 3]`` and heads ``[N, 3]``."""


class Discriminator(nn.Module):
    """Judges at full size and halved ones; counts its own updates, so that a resumed run goes on in its warm-up."""

    def __init__(self, width: int = 48, most: int = 256, scales: int = 2) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width, most) for _ in range(scales))
        self.age: Tensor
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))

    def forward(self, image_N3SS: Tensor) -> list[Judgement]:
        judgements = []
        for scale in self.scales:
            judgements.append(scale(image_N3SS))
            image_N3SS = F.avg_pool2d(image_N3SS, 2)
        return judgements


def whole_picture(image_N3SS: Tensor, *_: Tensor) -> Tensor:
    """The picture as it is."""
    return image_N3SS


def mouth(image_N3SS: Tensor, points_NK3: Tensor, head_N3: Tensor) -> Tensor:
    """``[N, 3, 64, 64]`` about the lips."""
    return _cut(image_N3SS, middle(points_NK3, _LIPS), _MOUTH_HALF * head_N3[:, 2], _MOUTH_PX)


def eyes(image_N3SS: Tensor, points_NK3: Tensor, head_N3: Tensor) -> Tensor:
    """``[2 N, 3, 48, 48]``: the right eyes, then the left ones mirrored."""
    half = _EYE_HALF * head_N3[:, 2]
    right, left = (_cut(image_N3SS, middle(points_NK3, eye), half, _EYE_PX) for eye in _EYES)
    return torch.cat([right, left.flip(-1)])


_VIEWS: dict[Part, View] = {"picture": whole_picture, "mouth": mouth, "eyes": eyes}


@dataclass(frozen=True, kw_only=True)
class AdversaryOptions:
    """Of one discriminator."""

    weight: float
    """Of its opinion."""
    features: float = 1.0
    """Of feature matching."""
    lr: float = 2e-4
    warmup: int = 300
    """Updates before it is listened to, and again until fully."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pictures that the generator made, and where their faces are."""

    image: Tensor
    """``[N, 3, S, S]``"""
    points: Tensor
    """Control points ``[N, K, 3]``."""
    head: Tensor
    """``[N, 3]``"""

    def seen(self, view: View) -> Tensor:
        """What a discriminator sees of them."""
        return view(self.image, self.points, self.head)

    def detached(self) -> Drawn:
        """Without their history."""
        return replace(self, image=self.image.detach())


class Adversary:
    """A discriminator of one part, its optimiser, and both sides' losses."""

    def __init__(self, part: Part, options: AdversaryOptions, device: torch.device) -> None:
        self.part: Part = part
        scales = 2 if part == "picture" else 1
        self.discriminator = channels_last(Discriminator(scales=scales), device)
        self.optimiser = guarded_adam(self.discriminator.parameters(), lr=options.lr, betas=(0.5, 0.99))
        self._options, self._device, self._view = options, device, _VIEWS[part]
        self._age: int | None = None
        """The discriminator's, known on the host; None: it was loaded, or is new."""
        self.discriminator.register_load_state_dict_post_hook(lambda *_: self._forget_age())  # type: ignore[no-untyped-call]

    def heard(self) -> float:
        """0..1: how much of the discriminator's opinion counts now."""
        if self._age is None:
            self._age = int(self.discriminator.age)
        past = self._age - self._options.warmup
        return min(max(past / max(self._options.warmup, 1), 0.0), 1.0)

    def losses(self, result: Drawn, target: Tensor, strangers: Drawn | None = None) -> dict[str, Tensor]:
        """For the generator; zero while the discriminator warms up. The same names in every step.

        Args:
            result: of pairs.
            target: their true pictures ``[N, 3, S, S]``.
            strangers: results without a true picture: their features are not matched.
        """
        names = (f"gan_{self.part}", f"features_{self.part}")
        heard = self.heard()
        if heard == 0.0:
            return {name: result.image.new_zeros(()) for name in names}
        self.discriminator.requires_grad_(False)
        with torch.autocast(self._device.type, torch.bfloat16):
            fake = self.discriminator(result.seen(self._view))
            with torch.no_grad():
                real = self.discriminator(replace(result, image=target).seen(self._view))
            gan, features = generator_loss(fake), feature_matching_loss(real, fake)
            if strangers is not None:
                share = len(strangers.image) / (len(result.image) + len(strangers.image))
                other = generator_loss(self.discriminator(strangers.seen(self._view)))
                gan = torch.lerp(gan, other, share)
        self.discriminator.requires_grad_(True)
        o = self._options
        return dict(zip(names, (heard * o.weight * gan, heard * o.features * features), strict=True))

    def learn(self, result: Drawn, target: Tensor, strangers: Drawn | None = None) -> Tensor:
        """One update of the discriminator; returns its loss (2 for one that knows nothing). Args: see ``losses``."""
        with torch.autocast(self._device.type, torch.bfloat16):
            real = self.discriminator(replace(result, image=target).seen(self._view))
            fakes = [one.detached().seen(self._view) for one in (result, strangers) if one is not None]
            loss = discriminator_loss(real, self.discriminator(torch.cat(fakes)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        step_if_finite(self.optimiser, loss.detach())
        self.discriminator.age += 1
        self._age = None if self._age is None else self._age + 1
        return loss.detach()

    def _forget_age(self) -> None:
        self._age = None


def _cut(image_N3SS: Tensor, centre_N2: Tensor, half_N: Tensor, size: int) -> Tensor:
    """Squares about crop-space centres, ``[N, 3, size, size]``; edges repeat. In fp32, as every grid here."""
    with torch.autocast(image_N3SS.device.type, enabled=False):
        grid = centre_N2[:, None] + pixel_grid(size, centre_N2)[None] * half_N[:, None, None]
        grid = grid.view(-1, size, size, 2).float()
        return F.grid_sample(image_N3SS.float(), grid, padding_mode="border", align_corners=False)
