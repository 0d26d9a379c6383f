"""``paste_back`` of the published preset's output into camera frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.paste_back import paste_back


def cases(device: str = "cuda") -> Iterator[Case]:
    """A face of half the picture's height into 720p and 1080p."""
    for height, width in ((720, 1280), (1080, 1920)):
        yield _case(height, width, device)


def _case(height: int, width: int, device: str) -> Case:
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, device=device)
    face = (2 * torch.rand(1, 3, 256, 256, device=device) - 1).half()
    # A mask of all values in between: with 0 and 1 alone the kernel could skip one of its reads.
    ramp = torch.linspace(0, torch.pi, 256, device=device).sin()
    mask = torch.outer(ramp, ramp).clamp(0, 1).contiguous()
    # The face's 256 pixels over half of the height.
    scale = 512 / height
    matrix = torch.tensor([[[scale, 0, 128 - scale * width / 2], [0, scale, 128 - scale * height / 2]]])
    matrix = matrix.to(device)
    out = torch.empty_like(frame)
    inputs = (frame, face, mask, matrix)
    return Case(
        name=f"256 into {width}x{height}",
        bytes_moved=frame.numel() + face.numel() * 2 + mask.numel() * 4 + out.numel(),
        kernel=partial(paste_back, *inputs, out=out),
        eager=partial(_eager, *inputs),
        again=partial(_case, height, width, device),
    )


def _eager(frame: Tensor, face: Tensor, mask: Tensor, matrix: Tensor) -> Tensor:
    """Paste with PyTorch's own operations: affine grid, two samples, blend, round."""
    (_, H, W, _), (h, w) = frame.shape, mask.shape
    x = matrix[0, 0, 0] * torch.arange(W, device=frame.device) + matrix[0, 0, 2]
    y = matrix[0, 1, 1] * torch.arange(H, device=frame.device) + matrix[0, 1, 2]
    grid = torch.stack((((2 * x + 1) / w - 1).expand(H, W), ((2 * y + 1) / h - 1)[:, None].expand(H, W)), -1)
    picture = F.grid_sample(face.float() * 127.5 + 127.5, grid[None], align_corners=False)
    alpha = F.grid_sample(mask[None, None], grid[None], align_corners=False)
    blended = alpha * picture + (1 - alpha) * frame.permute(0, 3, 1, 2)
    return blended.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
