"""Losses of the compact preset, one function per loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.landmark_flow import pixel_grid

_CONTROL = CONTROL.tolist()
_MOUTH = (_CONTROL.index(13), _CONTROL.index(14))
_EYES = ((_CONTROL.index(159), _CONTROL.index(145)), (_CONTROL.index(386), _CONTROL.index(374)))


def attention_map(target_NK3: Tensor, head_N3: Tensor, openings_N4hh: Tensor, size: int) -> Tensor:
    """Weight of each pixel's error, ``[N, 1, size, size]``, with mean 1.

    Before normalising: background 1, head 3, mouth and eyes up to 7, their openings up to 15.
    """
    grid = pixel_grid(size, target_NK3)
    scale = head_N3[:, 2]
    # The wide bump lies 0.6 head scales below the head's origin: in the middle of the face.
    bumps = 1 + 2 * _bump(grid, head_N3[:, :2] + _down(head_N3, 0.6), 1.4 * scale)
    bumps = bumps + 4 * _bump(grid, middle(target_NK3, _MOUTH), 0.45 * scale)
    for eye in _EYES:
        bumps = bumps + 4 * _bump(grid, middle(target_NK3, eye), 0.28 * scale)
    # The strongest of the opening masks counts, each of which is 0..1.
    opened = F.interpolate(openings_N4hh.float(), size=(size, size), mode="bilinear").amax(dim=1)
    bumps = bumps + 8 * opened.flatten(1)
    # With mean 1 the learning rate does not depend on how large the face is.
    bumps = bumps / bumps.mean(dim=1, keepdim=True)
    return bumps.view(-1, 1, size, size)


def middle(points_NK3: Tensor, rows: Sequence[int]) -> Tensor:
    """Mean position ``[N, 2]`` of some points.

    An index list would be copied from the host, which waits for the device.
    """
    return torch.stack([points_NK3[:, row, :2] for row in rows]).mean(0)


def pyramid_l1(image: Tensor, target: Tensor, weight_N1SS: Tensor, levels: int = 4) -> Tensor:
    """Mean absolute error over a pyramid of halved pictures, weighted by pixel."""
    total = image.new_zeros(())
    for level in range(levels):
        total = total + ((image - target).abs() * weight_N1SS).mean()
        if level + 1 < levels:
            # Coarser levels see differences that single pixels hide, such as a shifted jaw.
            image, target, weight_N1SS = (F.avg_pool2d(x, 2) for x in (image, target, weight_N1SS))
    return total / levels


def gradient_l1(image: Tensor, target: Tensor, weight_N1SS: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours: puts edges where they belong."""
    difference = image - target
    dx = (difference[..., 1:] - difference[..., :-1]).abs() * weight_N1SS[..., 1:]
    dy = (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weight_N1SS[..., 1:, :]
    return dx.mean() + dy.mean()


def flow_roughness(flow_N2hw: Tensor) -> Tensor:
    """Mean absolute second difference of the flow, in crop units times the map's side."""
    xx = flow_N2hw[..., 2:] - 2 * flow_N2hw[..., 1:-1] + flow_N2hw[..., :-2]
    yy = flow_N2hw[..., 2:, :] - 2 * flow_N2hw[..., 1:-1, :] + flow_N2hw[..., :-2, :]
    # Second differences shrink with the map's resolution; the factor makes sizes comparable.
    return (xx.abs().mean() + yy.abs().mean()) * flow_N2hw.shape[-1]


def _bump(grid_P2: Tensor, centre_N2: Tensor, sigma_N: Tensor) -> Tensor:
    square = ((grid_P2[None] - centre_N2[:, None]) ** 2).sum(-1)
    return torch.exp(-square / (2 * sigma_N[:, None] ** 2))


def _down(head_N3: Tensor, units: float) -> Tensor:
    return torch.stack([torch.zeros_like(head_N3[:, 2]), units * head_N3[:, 2]], dim=1)
