"""``crop_normalize`` from camera frames to the published preset's input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels._pixels import Pixels
from mimicam.kernels.crop_normalize import crop_normalize


def cases(device: str = "cuda") -> Iterator[Case]:
    """A face of half the picture's height out of 720p and 1080p, RGB and NV12, to 256 pixels in half."""
    formats: tuple[Pixels, ...] = ("rgb", "nv12")
    for height, width in ((720, 1280), (1080, 1920)):
        for pixels in formats:
            yield _case(height, width, pixels, device)


def _case(height: int, width: int, pixels: Pixels, device: str) -> Case:
    shape = (1, height, width, 3) if pixels == "rgb" else (1, height * 3 // 2, width)
    frame = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    side = height / 2
    scale = side / 256
    matrix = torch.tensor([[[scale, 0, width / 2 - side / 2], [0, scale, height / 4]]], device=device)
    out = torch.empty(1, 3, 256, 256, dtype=torch.float16, device=device)
    read = int(side * side * (3 if pixels == "rgb" else 1.5))
    return Case(
        name=f"{pixels} {width}x{height} to 256",
        bytes_moved=read + out.numel() * 2,
        kernel=partial(crop_normalize, frame, matrix, out=out, pixels=pixels),
        eager=partial(_eager, frame, matrix, out, pixels),
        again=partial(_case, height, width, pixels, device),
    )


def _eager(frame: Tensor, matrix: Tensor, out: Tensor, pixels: Pixels) -> Tensor:
    """What one writes without a kernel: float, colour, affine grid, sample. It aliases; the kernel does not."""
    H, W = (frame.shape[1], frame.shape[2]) if pixels == "rgb" else (frame.shape[1] * 2 // 3, frame.shape[2])
    image = frame.permute(0, 3, 1, 2).float() if pixels == "rgb" else _rgb_of_nv12(frame, H, W)
    size = out.shape[2]
    steps = torch.arange(size, device=frame.device, dtype=torch.float32)
    x = matrix[0, 0, 0] * steps + matrix[0, 0, 2]
    y = matrix[0, 1, 1] * steps + matrix[0, 1, 2]
    grid = torch.stack(
        (((2 * x + 1) / W - 1).expand(size, size), ((2 * y + 1) / H - 1)[:, None].expand(size, size)), -1
    )
    return out.copy_(F.grid_sample(image, grid[None], align_corners=False) * (2 / 255) - 1)


def _rgb_of_nv12(frame: Tensor, H: int, W: int) -> Tensor:
    luma = frame[:, None, :H].float()
    chroma = frame[:, H:].reshape(1, H // 2, W // 2, 2).permute(0, 3, 1, 2).float()
    u, v = (F.interpolate(chroma, size=(H, W), mode="bilinear") - 128).split(1, dim=1)
    scaled = (luma - 16) * 1.164
    return torch.cat((scaled + 1.596 * v, scaled - 0.392 * u - 0.813 * v, scaled + 2.017 * u), 1).clamp(
        0, 255
    )
