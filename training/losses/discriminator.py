"""Discriminators that score patches of pictures, at several sizes (pix2pixHD, Wang et al., CVPR
2018)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Judgement(NamedTuple):
    """Output of a discriminator for pictures of one size."""

    score: Tensor
    """``[N, 1, h, w]``, one score per patch; higher is more real."""
    features: list[Tensor]
    """Outputs of the layers before the score, for feature matching."""


class PatchDiscriminator(nn.Module):
    """Three strided layers with spectral normalisation (Miyato et al., ICLR 2018) and a score."""

    def __init__(self, width: int, most: int) -> None:
        super().__init__()
        widths = (3, width, *(min(width << k, most) for k in (1, 2)))
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in itertools.pairwise(widths)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, image_N3SS: Tensor) -> Judgement:
        features = [image_N3SS]
        for layer in self.layers:
            features.append(F.leaky_relu(layer(features[-1]), 0.2))
        # The picture itself is no feature: matching it would be a reconstruction loss.
        return Judgement(self.score(features[-1]), features[1:])


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators of the full size and of halved ones; each has weights of its own."""

    def __init__(self, width: int, most: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width, most) for _ in range(scales))

    def forward(self, image_N3SS: Tensor) -> list[Judgement]:
        judgements = []
        for scale in self.scales:
            judgements.append(scale(image_N3SS))
            # Averaged, not subsampled, which would alias.
            image_N3SS = F.avg_pool2d(image_N3SS, 2)
        return judgements
