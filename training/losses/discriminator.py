"""A discriminator at several sizes, each judging patches (Wang et al., pix2pixHD, CVPR 2018)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mimicam.engine.models.daegan.network import DaeGanConfig


class Judgement(NamedTuple):
    """Of one size."""

    score: Tensor
    """``[N, 1, h, w]``, a patch each; higher is more real."""
    features: list[Tensor]
    """Of the layers before, for feature matching."""


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
        return Judgement(self.score(features[-1]), features[1:])


class MultiScaleDiscriminator(nn.Module):
    """The same at full size, half and a quarter of it."""

    def __init__(self, config: DaeGanConfig, scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(config.width, config.most) for _ in range(scales))

    def forward(self, image_N3SS: Tensor) -> list[Judgement]:
        judgements = []
        for scale in self.scales:
            judgements.append(scale(image_N3SS))
            image_N3SS = F.avg_pool2d(image_N3SS, 2)
        return judgements
