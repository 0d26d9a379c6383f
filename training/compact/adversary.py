"""What the other losses leave soft: a discriminator that judges patches at two sizes (an optional last stage).

Hinge loss and feature matching, as in DAE-GAN's equations 6 and 7, with spectral normalisation. The discriminator learns
alone first: an untrained one would pull good weights apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.daegan.discriminator import Judgement, PatchDiscriminator
from training.daegan.losses import discriminator_loss, feature_matching_loss, generator_loss

_WIDTH, _MOST, _SCALES = 48, 256, 2


class Discriminator(nn.Module):
    """Full and half size; counts its own updates, so that a resumed run goes on in its warm-up."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(_WIDTH, _MOST) for _ in range(_SCALES))
        self.age: Tensor
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))

    def forward(self, image_N3SS: Tensor) -> list[Judgement]:
        judgements = []
        for scale in self.scales:
            judgements.append(scale(image_N3SS))
            image_N3SS = F.avg_pool2d(image_N3SS, 2)
        return judgements


class Adversary:
    """The discriminator, its optimiser, and both sides' losses."""

    def __init__(
        self, *, weight: float, features: float, lr: float, warmup: int, device: torch.device
    ) -> None:
        """``warmup``: updates that the discriminator gets before it is listened to, and again until fully."""
        self.discriminator = Discriminator().to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.99))
        self._weight, self._features, self._warmup, self._device = weight, features, warmup, device

    def heard(self) -> float:
        """0..1: how much of the discriminator's opinion counts now."""
        past = int(self.discriminator.age) - self._warmup
        return min(max(past / max(self._warmup, 1), 0.0), 1.0)

    def losses(self, result: Tensor, target: Tensor) -> dict[str, Tensor]:
        """For the generator; nothing while the discriminator warms up. The same names in every step."""
        heard = self.heard()
        if heard == 0.0:
            return {"gan": result.new_zeros(()), "features": result.new_zeros(())}
        self.discriminator.requires_grad_(False)
        with torch.autocast(self._device.type, torch.bfloat16):
            fake = self.discriminator(result)
            with torch.no_grad():
                real = self.discriminator(target)
            gan, features = generator_loss(fake), feature_matching_loss(real, fake)
        self.discriminator.requires_grad_(True)
        return {"gan": heard * self._weight * gan, "features": heard * self._features * features}

    def learn(self, result: Tensor, target: Tensor) -> Tensor:
        """One update of the discriminator; returns its loss (2 for one that knows nothing)."""
        with torch.autocast(self._device.type, torch.bfloat16):
            loss = discriminator_loss(self.discriminator(target), self.discriminator(result.detach()))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.discriminator.age += 1
        return loss.detach()
