"""Affine resampling with antialiasing in PyTorch, the reference of cuda/resample.cuh and
cuda/write_rgb.cuh."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

MOST_TAPS = 8
"""Samples per output pixel and axis at most. 8 shrink a face of 2,048 pixels to 256 without
aliasing."""


def tap_counts(source_from_target_23: Tensor) -> tuple[int, int]:
    """Count the samples along the target's x and y that keep them at most one source pixel apart.

    Reads the matrix on the host; the kernels compute the counts on the GPU.
    """
    matrix = source_from_target_23.float().cpu()
    steps = (math.hypot(*matrix[:, axis].tolist()) for axis in (0, 1))
    # The slack keeps a step of exactly n pixels at n samples, whatever the matrix's rounding.
    nx, ny = (min(max(math.ceil(step - 1e-3), 1), MOST_TAPS) for step in steps)
    return nx, ny


def positions(source_from_target_23: Tensor, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield source x and y ``[H, W]`` of every target pixel, once for each sample of its
    footprint."""
    matrix = source_from_target_23.float()
    nx, ny = tap_counts(matrix)
    ys, xs = (torch.arange(n, device=matrix.device, dtype=torch.float32) for n in size)
    for j in range(ny):
        for i in range(nx):
            # Samples at the centres of equal parts of the target's pixel, which average to a box
            # filter.
            x = (xs + ((i + 0.5) / nx - 0.5))[None, :]
            y = (ys + ((j + 0.5) / ny - 0.5))[:, None]
            yield (
                matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
                matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
            )


def bilinear(planes_CHW: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample planes at positions of any one shape, as ``[C, ...]``. Beyond the border the edge
    pixel repeats."""
    planes = planes_CHW.float()
    H, W = planes.shape[1:]
    # Clamped positions repeat the edge, and keep the integer conversion below in range.
    x, y = x.clamp(0, W - 1), y.clamp(0, H - 1)
    x0, y0 = x.floor().long(), y.floor().long()
    x1, y1 = (x0 + 1).clamp(max=W - 1), (y0 + 1).clamp(max=H - 1)
    wx, wy = x - x0, y - y0
    north = planes[:, y0, x0] * (1 - wx) + planes[:, y0, x1] * wx
    south = planes[:, y1, x0] * (1 - wx) + planes[:, y1, x1] * wx
    return north * (1 - wy) + south * wy


def to_bytes(rgb_N3HW: Tensor) -> Tensor:
    """Round pictures in 0..255 to uint8 ``[N, H, W, 3]``, halves to even, as cuda/write_rgb.cuh
    does."""
    return rgb_N3HW.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
