"""The discriminator of StyleGAN2 (Karras et al., CVPR 2020), from the engine's own layers."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.dpe.config import DpeConfig
from mimicam.engine.models.dpe.network import ConvBlock, ResidualBlock
from mimicam.engine.models.dpe.stylegan2 import GAIN, SLOPE, EqualLinear

_GROUP = 4
"""Number of pictures whose standard deviation is measured together (StyleGAN2)."""


def spread_channel(x_NCHW: Tensor) -> Tensor:
    """Append a channel: the mean standard deviation over groups of up to four pictures.

    It shows the discriminator when a generator draws the same picture again and again.
    """
    N, _, H, W = x_NCHW.shape
    # StyleGAN2 wants four pictures per group; other batch sizes take the largest group that
    # divides.
    group = max(g for g in range(1, _GROUP + 1) if N % g == 0)
    grouped = x_NCHW.reshape(group, N // group, *x_NCHW.shape[1:])
    # The small constant keeps the square root's gradient finite where all pictures are equal.
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat((x_NCHW, deviation.repeat(group)[:, None, None, None].expand(N, 1, H, W)), 1)


class Discriminator(nn.Module):
    """Maps pictures ``[N, 3, size, size]`` to scores ``[N]``; higher is more real."""

    def __init__(self, config: DpeConfig) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.stem = ConvBlock(3, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in itertools.pairwise(widths))
        self.last = ConvBlock(widths[-1] + 1, widths[-1], 3)
        self.hidden = EqualLinear(widths[-1] * 16, widths[-1])
        self.score = EqualLinear(widths[-1], 1)

    def forward(self, image_N3SS: Tensor) -> Tensor:
        x = self.stem(image_N3SS)
        for block in self.blocks:
            x = block(x)
        x = self.last(spread_channel(x)).flatten(1)
        x = F.leaky_relu(self.hidden(x), SLOPE) * GAIN
        score: Tensor = self.score(x)
        return score.squeeze(1)
