"""DAE-GAN's own objectives, one function per equation.

Pictures ``[N, 3, S, S]`` in -1..1; each loss is a scalar.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def reconstruction_loss(image: Tensor, target: Tensor, weight_N1SS: Tensor | None = None) -> Tensor:
    """Mean absolute error: equation 3; with weights of the pixels, whose mean is 1, not in the
    paper."""
    if weight_N1SS is None:
        return F.l1_loss(image, target)
    return ((image - target).abs() * weight_N1SS).mean()


def smoothness_loss(*fields: Tensor) -> Tensor:
    """Mean absolute difference of neighbours along both axes, of each field ``[..., 2, H, W]``:
    equation 4.

    The paper does not state the fields' unit. Here it is half a side, in which the picture spans
    -1..1: a field whose u grows by one pixel per pixel costs 1 / W. That is 0.0039 at 256 pixels
    and 0.0156 for the pose embedder's field of 64.
    """
    total = fields[0].new_zeros(())
    for field in fields:
        # Differences in cells, not pixels: the loss is the same at each size of the field.
        along_u = (field[..., :, 1:] - field[..., :, :-1]).abs().mean()
        along_v = (field[..., 1:, :] - field[..., :-1, :]).abs().mean()
        total = total + along_u + along_v
    return total


def embedder_loss(
    image: Tensor,
    target: Tensor,
    *fields: Tensor,
    smoothness: float = 1.0,
    weight_N1SS: Tensor | None = None,
) -> Tensor:
    """Objective of both embedders: equation 5."""
    return reconstruction_loss(image, target, weight_N1SS) + smoothness * smoothness_loss(*fields)
