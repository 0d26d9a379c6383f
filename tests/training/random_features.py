"""A stand-in for the networks that measure pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RandomFeatures(nn.Module):
    """A small frozen network of random weights, always the same.

    Called with one batch it gives features ``[N, 128]``, with two their distance.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.kernels = nn.ParameterList(
            torch.randn(8, n, 3, 3, generator=generator) / (n * 9) ** 0.5 for n in (3, 8, 8)
        )
        self.requires_grad_(False)

    def forward(self, image_N3SS: Tensor, target_N3SS: Tensor | None = None) -> Tensor:
        features = self._features(image_N3SS)
        return features if target_N3SS is None else F.l1_loss(features, self._features(target_N3SS))

    def _features(self, x: Tensor) -> Tensor:
        for kernel in self.kernels:
            x = F.leaky_relu(F.conv2d(x, kernel, stride=2, padding=1), 0.2)
        return F.adaptive_avg_pool2d(x, 4).flatten(1)


class RandomFace(RandomFeatures):
    """The same as a face network of equation 10, which does not use the landmarks."""

    def forward(self, image_N3SS: Tensor, landmarks_NL3: Tensor) -> Tensor:  # noqa: ARG002
        return self._features(image_N3SS)
