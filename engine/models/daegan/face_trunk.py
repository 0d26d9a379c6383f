"""The landmark network's trunk, from which DAE-GAN's compact preset reads codes.

MediaPipe's face landmark network (Apache-2.0) without its last layer. It has seen far more
faces than our clips show, so a linear map of its 512 features tells mouth, lids and turn of people
never trained on. An encoder of our own learned little of that from the same number of pictures
(training/LOG.md).

It expects faces upright and of one size. So a picture is read twice: from the first reading,
`FaceFinder` tells where the face is, and the second one reads it there, as MediaPipe's tracker
does. In faces read as they lie in the picture, the network's own landmarks give blendshapes that
are off by six times as much (training/LOG.md).

Shape letters: N pictures, C channels, H height, W width, S side of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 256
"""Side of the pictures that it reads."""
FEATURES = 512
PLACE = 4
"""Values that say where a face is: its centre (x, y), -1..1 over the picture; the logarithm of half
the side that is read, in halves of the picture's; and its roll, radians, clockwise on the screen."""
_HIDDEN = 64
_SMALLEST, _LARGEST = 0.2, 1.5
"""Limits of half the side: a picture without a face must give something too."""
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


class FaceFinder(nn.Module):
    """Tells from the features of a whole picture where its face is; a fresh one takes the picture for the
    face. The network's own landmarks would tell it too, but draw small faces too large."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.LayerNorm(FEATURES)
        self.hidden, self.place = nn.Linear(FEATURES, _HIDDEN), nn.Linear(_HIDDEN, PLACE)
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def forward(self, features_NC: Tensor) -> Tensor:
        """Return the place of each face, ``[N, 4]``; see `PLACE`."""
        place: Tensor = self.place(F.leaky_relu(self.hidden(self.scale(features_NC)), 0.2))
        return place


class FaceTrunk(nn.Module):
    """Maps a face to 512 features. It is not trained further: no gradient passes."""

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

    def forward(self, image_N3SS: Tensor, finder: FaceFinder) -> Tensor:
        """Return what is read in pictures of -1..1: 512 features of the face, then its place, ``[N,
        516]``. Other sizes are resized."""
        if not self._keeps:
            return self._read(image_N3SS, finder)
        # The pictures are kept too, so that their memory does not become another batch's.
        if self._kept is None or not _same(self._kept[0], image_N3SS):
            self._kept = image_N3SS, self._read(image_N3SS, finder)
        return self._kept[1]

    @torch.no_grad()
    def _read(self, image_N3SS: Tensor, finder: FaceFinder) -> Tensor:
        whole = _scaled(image_N3SS)
        place = finder(self._features(whole))
        low, high = math.log(_SMALLEST), math.log(_LARGEST)
        place = torch.cat([place[:, :2].clamp(-1, 1), place[:, 2:3].clamp(low, high), place[:, 3:]], 1)
        return torch.cat([self._features(_cut(whole, place)), place], 1)

    @torch.no_grad()
    def features(self, image_N3SS: Tensor) -> Tensor:
        """Return the features of whole pictures, ``[N, 512]``."""
        return self._features(_scaled(image_N3SS))

    def _features(self, image_N3HW: Tensor) -> Tensor:
        # The network pads as TensorFlow does: an even side is padded at its end alone.
        x = self.relu(self.stem(F.pad(image_N3HW, (0, 1, 0, 1))))
        out: Tensor = self.blocks(x).flatten(1)
        return out


def _scaled(image_N3SS: Tensor) -> Tensor:
    """Return pictures as the network takes them: in 0..1, with a side of 256."""
    x = image_N3SS / 2 + 0.5
    if x.shape[-1] == SIDE:
        return x
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def _cut(image_N3SS: Tensor, place_N4: Tensor) -> Tensor:
    """Return the face, upright, in a picture of the same size; black beyond the given one."""
    x, y, log_half, roll = place_N4.float()[:, :, None, None].unbind(1)
    side = image_N3SS.shape[-1]
    at = (torch.arange(side, device=image_N3SS.device) * 2 + 1) / side - 1
    across, down = at[None, None, :], at[None, :, None]
    cos, sin = log_half.exp() * roll.cos(), log_half.exp() * roll.sin()
    grid = torch.stack([x + cos * across - sin * down, y + sin * across + cos * down], 3)
    return F.grid_sample(image_N3SS, grid, padding_mode="zeros", align_corners=False)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
