"""``crop_normalize`` from camera frames to the published preset's input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.crop_normalize import crop_normalize


def cases(device: str = "cuda") -> Iterator[Case]:
    """A face of half the picture's height out of 720p and 1080p, to 256 pixels in half
    precision."""
    for height, width in ((720, 1280), (1080, 1920)):
        yield _case(height, width, device)


def _case(height: int, width: int, device: str) -> Case:
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, device=device)
    side = height / 2
    scale = side / 256
    matrix = torch.tensor([[[scale, 0, width / 2 - side / 2], [0, scale, height / 4]]], device=device)
    out = torch.empty(1, 3, 256, 256, dtype=torch.float16, device=device)
    # Only the box is read: counting the whole frame would make the floor too high.
    read = int(side * side * 3)
    return Case(
        name=f"{width}x{height} to 256",
        bytes_moved=read + out.numel() * 2,
        kernel=partial(crop_normalize, frame, matrix, out=out),
        eager=partial(_eager, frame, matrix, out),
        again=partial(_case, height, width, device),
    )


def _eager(frame: Tensor, matrix: Tensor, out: Tensor) -> Tensor:
    """Crop with PyTorch's own operations: float, affine grid, sample. It aliases; the kernel does
    not."""
    (_, H, W, _), size = frame.shape, out.shape[2]
    image = frame.permute(0, 3, 1, 2).float()
    steps = torch.arange(size, device=frame.device, dtype=torch.float32)
    x = matrix[0, 0, 0] * steps + matrix[0, 0, 2]
    y = matrix[0, 1, 1] * steps + matrix[0, 1, 2]
    grid = torch.stack(
        (((2 * x + 1) / W - 1).expand(size, size), ((2 * y + 1) / H - 1)[:, None].expand(size, size)), -1
    )
    # Into the same half-precision buffer as the kernel, so that both write the same bytes.
    return out.copy_(F.grid_sample(image, grid[None], align_corners=False) * (2 / 255) - 1)
