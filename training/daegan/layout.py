"""Draw where mouth, lips, eyes and irises are, which the pose embedder learns to decode. Not in the
paper.

Shape letters: N pictures, L landmarks, P points of an outline, R rows, S side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.engine.face.landmarks import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS

OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
"""Centre of each iris, and four points around it."""
_ROWS = 4
"""Rows of an outline per pixel. Along a row its coverage is exact."""
_RARE = 4.0
"""Weight of a part's pixels: they are few, and a mean would leave them out."""


def draw_layout(landmarks_NL2: Tensor, side: int) -> Tensor:
    """Return the share of each pixel that a part covers, in the order of
    `engine.models.daegan.compact_embedders.LAYOUT`, ``[N, 4, side, side]``.

    Args:
        landmarks_NL2: crop space, -1..1 over the picture.
        side: of the maps, pixels.
    """
    points = (landmarks_NL2 + 1) * (side / 2)
    mouth, lips, *eyes = (
        _covered(points[:, list(outline)], side)
        for outline in (INNER_LIPS, OUTER_LIPS, RIGHT_LIDS, LEFT_LIDS)
    )
    discs = [_disc(points[:, list(iris)], side) for iris in _IRISES]
    irises = eyes[0] * discs[0] + eyes[1] * discs[1]
    return torch.stack([mouth, (lips - mouth).clamp(0, 1), eyes[0] + eyes[1], irises], 1).clamp(0, 1)


def layout_loss(logits_N4SS: Tensor, landmarks_NL2: Tensor) -> Tensor:
    """Compare a decoded layout with that of the landmarks: weighted cross-entropy, a scalar."""
    wanted = draw_layout(landmarks_NL2, logits_N4SS.shape[-1])
    apart = F.binary_cross_entropy_with_logits(logits_N4SS, wanted, reduction="none")
    return (apart * (1 + _RARE * wanted)).mean()


def _covered(outline_NP2: Tensor, side: int) -> Tensor:
    """Return the share of each pixel that lies within an outline, ``[N, side, side]``."""
    count = len(outline_NP2)
    start, end = outline_NP2, outline_NP2.roll(-1, 1)
    rows = (torch.arange(side * _ROWS, device=outline_NP2.device) + 0.5) / _ROWS
    above, below = start[..., 1:] <= rows, end[..., 1:] <= rows
    # 1 where an edge goes down through a row, -1 where it goes up, ``[N, P, R]``.
    crosses = above.float() - below.float()
    height = end[..., 1] - start[..., 1]
    slope = (end[..., 0] - start[..., 0]) / torch.where(height == 0, 1.0, height)
    x = (start[..., :1] + slope[..., None] * (rows - start[..., 1:])).clamp(0, side)
    # All pixels to the right of a crossing are inside until the next one: the crossings' own pixels
    # in part, and a running sum for the others.
    first = x.floor().clamp(max=side - 1)
    part = x - first
    line = outline_NP2.new_zeros(count, len(rows), side + 1)
    order = (0, 2, 1)
    line.scatter_add_(2, first.long().permute(order), (crosses * (1 - part)).permute(order))
    line.scatter_add_(2, first.long().permute(order) + 1, (crosses * part).permute(order))
    inside = line.cumsum(2)[..., :side].abs().clamp(max=1)
    return inside.reshape(count, side, _ROWS, side).mean(2)


def _disc(points_N52: Tensor, side: int) -> Tensor:
    """Return a soft disc around the first point, as large as the distance of the others, ``[N,
    side, side]``."""
    centre = points_N52[:, 0]
    radius = (points_N52[:, 1:] - centre[:, None]).norm(dim=-1).mean(1)
    at = torch.arange(side, device=centre.device) + 0.5
    across, down = ((at - centre[:, i, None]) ** 2 for i in (0, 1))
    away = (down[:, :, None] + across[:, None, :]).sqrt()
    return (radius[:, None, None] - away + 0.5).clamp(0, 1)
