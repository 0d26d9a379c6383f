"""Cut squares out of pictures, differentiably. Crop space has -1..1 over a picture."""

from __future__ import annotations

from torch import Tensor
from torch.amp import autocast
from torch.nn import functional as F

from mimicam.engine.models.compact.landmark_flow import pixel_grid


def cut_square(image_N3SS: Tensor, centre_N2: Tensor, half_N: Tensor, size: int) -> Tensor:
    """Cut out squares around crop-space centres, ``[N, 3, size, size]``; edges repeat.

    Computed in float32, as all sampling grids: bfloat16 has too few bits for pixel positions.

    Args:
        half_N: half a side, crop space.
        size: side of the result, pixels.
    """
    with autocast(image_N3SS.device.type, enabled=False):
        grid = centre_N2[:, None] + pixel_grid(size, centre_N2)[None] * half_N[:, None, None]
        grid = grid.view(-1, size, size, 2).float()
        return F.grid_sample(image_N3SS.float(), grid, padding_mode="border", align_corners=False)
