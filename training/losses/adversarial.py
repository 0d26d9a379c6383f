"""Hinge losses and feature matching (DAE-GAN, equations 6 and 7).

Each loss is a scalar, the mean over the scales.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.training.losses.discriminator import Judgement


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Hinge loss of the discriminator: equation 7, first line."""
    # The mean over sizes, so that their number does not scale the loss.
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.relu(1 - r.score).mean() + F.relu(1 + f.score).mean() for r, f in pairs]).mean()


def generator_loss(fake: list[Judgement]) -> Tensor:
    """Hinge loss of the generator: equation 7, second line."""
    return torch.stack([-f.score.mean() for f in fake]).mean()


def feature_matching_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Mean absolute difference of the discriminator's features: L_FM of equation 6."""
    distances = [
        # Real features are the goal: gradients flow to the picture only.
        F.l1_loss(got, want.detach())
        for r, f in zip(real, fake, strict=True)
        for got, want in zip(f.features, r.features, strict=True)
    ]
    return torch.stack(distances).mean()
