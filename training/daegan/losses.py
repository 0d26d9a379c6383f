"""DAE-GAN's objectives, one function an equation. Pictures ``[N, 3, S, S]`` in -1..1; every loss is a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.training.losses.discriminator import Judgement


def reconstruction_loss(image: Tensor, target: Tensor) -> Tensor:
    """Equation 3: mean absolute error."""
    return F.l1_loss(image, target)


def smoothness_loss(*fields: Tensor) -> Tensor:
    """Equation 4: mean absolute difference of neighbours, along both axes, of each field ``[..., 2, H, W]``."""
    total = fields[0].new_zeros(())
    for field in fields:
        along_u = (field[..., :, 1:] - field[..., :, :-1]).abs().mean()
        along_v = (field[..., 1:, :] - field[..., :-1, :]).abs().mean()
        total = total + along_u + along_v
    return total


def embedder_loss(image: Tensor, target: Tensor, *fields: Tensor, smoothness: float = 1.0) -> Tensor:
    """Equation 5, the objective of both embedders."""
    return reconstruction_loss(image, target) + smoothness * smoothness_loss(*fields)


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Equation 7, hinge, first line: the mean over the scales."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.relu(1 - r.score).mean() + F.relu(1 + f.score).mean() for r, f in pairs]).mean()


def generator_loss(fake: list[Judgement]) -> Tensor:
    """Equation 7, second line: the mean over the scales."""
    return torch.stack([-f.score.mean() for f in fake]).mean()


def feature_matching_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """L_FM of equation 6: the discriminator's features of the result match those of the truth."""
    distances = [
        F.l1_loss(got, want.detach())
        for r, f in zip(real, fake, strict=True)
        for got, want in zip(f.features, r.features, strict=True)
    ]
    return torch.stack(distances).mean()
