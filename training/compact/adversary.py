"""Discriminators for the compact preset's optional last stage, which sharpens what the other losses
leave soft.

One scores the whole picture at two sizes. Two more score the mouth and the eyes, cut out around the
true landmarks (component discriminators as in GFP-GAN, Wang et al., CVPR 2021). Losses: hinge and
feature matching, as in DAE-GAN's equations 6 and 7, with spectral normalisation. A discriminator
first trains alone: the gradients of an untrained one would damage good weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.training.compact.losses import middle
from mimicam.training.losses.adversarial import discriminator_loss, feature_matching_loss, generator_loss
from mimicam.training.losses.discriminator import MultiScaleDiscriminator
from mimicam.training.losses.square import cut_square
from mimicam.training.optimiser import guarded_adam, step_if_finite
from mimicam.training.trainer import channels_last

_CONTROL = CONTROL.tolist()
_LIPS = [_CONTROL.index(i) for i in (13, 14, 61, 291)]
_EYES = [[_CONTROL.index(i) for i in eye] for eye in ((33, 133, 159, 145), (263, 362, 386, 374))]
_MOUTH_HALF, _MOUTH_PX = 0.65, 64
_EYE_HALF, _EYE_PX = 0.42, 48
"""Half a side in head scales (about 58 mm), and the side in pixels: near the resolution of a 256
crop."""
_WIDTH, _MOST = 48, 256
"""Channels of a discriminator's first layer, and the largest number of channels."""

Part = Literal["picture", "mouth", "eyes"]
View = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Cuts a discriminator's input out of pictures ``[N, 3, S, S]``, by control points ``[N, K, 3]``
and heads ``[N, 3]``."""


class CountingDiscriminator(MultiScaleDiscriminator):
    """A discriminator that counts its updates in its state, so that a resumed run continues its
    warm-up."""

    def __init__(self, scales: int) -> None:
        super().__init__(_WIDTH, _MOST, scales)
        self.age: Tensor  # named so in the checkpoints of earlier versions
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))


def whole_picture(image_N3SS: Tensor, *_: Tensor) -> Tensor:
    """Return the picture as it is."""
    return image_N3SS


def mouth(image_N3SS: Tensor, points_NK3: Tensor, head_N3: Tensor) -> Tensor:
    """Cut out ``[N, 3, 64, 64]`` around the lips."""
    return cut_square(image_N3SS, middle(points_NK3, _LIPS), _MOUTH_HALF * head_N3[:, 2], _MOUTH_PX)


def eyes(image_N3SS: Tensor, points_NK3: Tensor, head_N3: Tensor) -> Tensor:
    """Cut out ``[2 N, 3, 48, 48]``: the right eyes, then the left ones mirrored."""
    half = _EYE_HALF * head_N3[:, 2]
    right, left = (cut_square(image_N3SS, middle(points_NK3, eye), half, _EYE_PX) for eye in _EYES)
    return torch.cat([right, left.flip(-1)])


_VIEWS: dict[Part, View] = {"picture": whole_picture, "mouth": mouth, "eyes": eyes}


@dataclass(frozen=True, kw_only=True)
class AdversaryOptions:
    """Weights and rates of one discriminator."""

    weight: float
    """Weight of the adversarial loss."""
    features: float = 1.0
    """Weight of feature matching."""
    lr: float = 2e-4
    warmup: int = 300
    """Updates that the discriminator trains alone; its loss is ramped in over as many more."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pictures that the generator drew, and where their faces are."""

    image: Tensor
    """``[N, 3, S, S]``"""
    points: Tensor
    """Control points ``[N, K, 3]``."""
    head: Tensor
    """``[N, 3]``"""

    def seen(self, view: View) -> Tensor:
        """Cut out a discriminator's input."""
        return view(self.image, self.points, self.head)

    def detached(self) -> Drawn:
        """Return the same pictures without their gradient graph."""
        return replace(self, image=self.image.detach())


class Adversary:
    """A discriminator of one part, its optimiser, and the losses of both sides."""

    def __init__(self, part: Part, options: AdversaryOptions, device: torch.device) -> None:
        self.part: Part = part
        scales = 2 if part == "picture" else 1
        self.discriminator = channels_last(CountingDiscriminator(scales), device)
        self.optimiser = guarded_adam(self.discriminator.parameters(), lr=options.lr, betas=(0.5, 0.99))
        self._options, self._device, self._view = options, device, _VIEWS[part]
        self._updates: int | None = None
        """Copy of the discriminator's counter on the host, which spares a wait for the device.
        None: not read yet."""
        self.discriminator.register_load_state_dict_post_hook(lambda *_: self._forget_updates())  # type: ignore[no-untyped-call]

    def gan_ramp(self) -> float:
        """Return the factor 0..1 of the generator's losses: 0 in the warm-up, then rising to 1."""
        if self._updates is None:
            self._updates = int(self.discriminator.age)
        past = self._updates - self._options.warmup
        return min(max(past / max(self._options.warmup, 1), 0.0), 1.0)

    def losses(self, result: Drawn, target: Tensor, cross_identity: Drawn | None = None) -> dict[str, Tensor]:
        """Compute the generator's losses; zero in the warm-up. Every step has the same names.

        Args:
            result: pictures of pairs.
            target: their true pictures ``[N, 3, S, S]``.
            cross_identity: results without a true picture: their features are not matched.
        """
        names = (f"gan_{self.part}", f"features_{self.part}")
        ramp = self.gan_ramp()
        if ramp == 0.0:
            return {name: result.image.new_zeros(()) for name in names}
        # Only the generator learns from these losses.
        self.discriminator.requires_grad_(False)
        with torch.autocast(self._device.type, torch.bfloat16):
            fake = self.discriminator(result.seen(self._view))
            with torch.no_grad():
                real = self.discriminator(replace(result, image=target).seen(self._view))
            gan, features = generator_loss(fake), feature_matching_loss(real, fake)
            if cross_identity is not None:
                # Each picture counts the same, whichever of the two groups it is in.
                share = len(cross_identity.image) / (len(result.image) + len(cross_identity.image))
                other = generator_loss(self.discriminator(cross_identity.seen(self._view)))
                gan = torch.lerp(gan, other, share)
        self.discriminator.requires_grad_(True)
        o = self._options
        return dict(zip(names, (ramp * o.weight * gan, ramp * o.features * features), strict=True))

    def update(self, result: Drawn, target: Tensor, cross_identity: Drawn | None = None) -> Tensor:
        """Update the discriminator once; return its loss (2 for one that cannot tell).

        Args: see ``losses``.
        """
        with torch.autocast(self._device.type, torch.bfloat16):
            real = self.discriminator(replace(result, image=target).seen(self._view))
            fakes = [one.detached().seen(self._view) for one in (result, cross_identity) if one is not None]
            loss = discriminator_loss(real, self.discriminator(torch.cat(fakes)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        step_if_finite(self.optimiser, loss.detach())
        self.discriminator.age += 1
        self._updates = None if self._updates is None else self._updates + 1
        return loss.detach()

    def _forget_updates(self) -> None:
        self._updates = None
