"""The landmark network's trunk, from which DAE-GAN's compact preset reads codes.

MediaPipe's face landmark network (Apache-2.0) without its last layer. It has seen far more faces
than our clips show, so a linear map of its 512 features tells mouth, lids and turn of people never
trained on. An encoder of our own learned little of that from the same number of pictures
(training/LOG.md).

Shape letters: N pictures, C channels, H height, W width, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 256
"""Side of the pictures that it reads."""
FEATURES = 512
_STEM = 16
_STAGES = ((16, 8, 4), (32, 16, 5), (64, 32, 5), (128, 64, 5), (128, 64, 5), (128, 64, 5), (128, 64, 5))
"""Channels, channels within a block, and blocks, at 128 pixels and each half of that."""


class TrunkBlock(nn.Module):
    """Bottleneck with a depthwise convolution; ``down`` halves the size."""

    def __init__(self, n_in: int, inner: int, n_out: int, *, down: bool) -> None:
        super().__init__()
        self._wider, self._down = n_out - n_in, down
        side = 2 if down else 1
        self.first = nn.Conv2d(n_in, inner, side, stride=side)
        self.relu_1 = nn.PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.last = nn.Conv2d(inner, n_out, 1)
        self.relu_2 = nn.PReLU(n_out)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.last(self.depthwise(self.relu_1(self.first(x_NCHW))))
        if self._down:
            x_NCHW = F.max_pool2d(x_NCHW, 2)
        if self._wider:
            x_NCHW = F.pad(x_NCHW, (0, 0, 0, 0, 0, self._wider))
        out: Tensor = self.relu_2(x_NCHW + y)
        return out


class FaceTrunk(nn.Module):
    """Maps a picture to 512 features. It is not trained further: no gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM, 3, stride=2)
        self.relu = nn.PReLU(_STEM)
        blocks, width = [], _STEM
        for stage, (channels, inner, count) in enumerate(_STAGES):
            for number in range(count):
                blocks.append(TrunkBlock(width, inner, channels, down=stage > 0 and number == 0))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self._keeps = False
        self._kept: tuple[Tensor, Tensor] | None = None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Within it, the same pictures are read once. A training step reads its frames twice."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps, self._kept = False, None

    def forward(self, image_N3SS: Tensor) -> Tensor:
        """Return the features of pictures in -1..1, ``[N, 512]``; other sizes are resized."""
        if not self._keeps:
            return self._read(image_N3SS)
        # The pictures are kept too, so that their memory does not become another batch's.
        if self._kept is None or not _same(self._kept[0], image_N3SS):
            self._kept = image_N3SS, self._read(image_N3SS)
        return self._kept[1]

    @torch.no_grad()
    def _read(self, image_N3SS: Tensor) -> Tensor:
        x = image_N3SS / 2 + 0.5
        if x.shape[-1] != SIDE:
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        # The network pads as TensorFlow does: an even side is padded at its end alone.
        x = self.relu(self.stem(F.pad(x, (0, 1, 0, 1))))
        out: Tensor = self.blocks(x).flatten(1)
        return out


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
