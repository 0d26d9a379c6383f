"""Weigh a portrait's frames by how well each agrees with the fused face. Not in the paper.

The mean of equation 1 blurs whatever the warps do not put exactly on each other. Where a frame
shows the same as the mean, it is weighed up; elsewhere the others are. So each place comes mostly
from one frame. Importing this needs no PyTorch.

Shape letters: K frames, S side of the embedded face, G side of the grid that is compared.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.models.daegan.compact_config import FIELD
from mimicam.engine.stages.crop import at_rest
from mimicam.engine.types import Float

if TYPE_CHECKING:
    from torch import Tensor

    Pictures = TypeVar("Pictures", Tensor, Float)

_REACH = 3
"""Cells to both sides over which differences are averaged, twice: choices follow features of a
face, not single edges."""
SHARPNESS = 2000.0
"""Exponent of the weight per unit of difference, with pictures in -1..1. The mean has 0. Results of
eight frames have the Frechet distance of one frame's with 600, and a smaller one from 1,500 on
(training/LOG.md)."""


def disagreement(
    warped_K3SS: Pictures, face_3SS: Pictures, compare_GS: Pictures, spread_SG: Pictures
) -> Pictures:
    """Measure how far each frame differs from a face around each pixel, ``[K, 1, S, S]``.

    Args:
        warped_K3SS: frames without pose, -1..1; an array, or a tensor with further dimensions in
            front.
        compare_GS, spread_SG: see `matrices`.
    """
    coarse_K3GG = compare_GS @ (warped_K3SS - face_3SS) @ compare_GS.swapaxes(0, 1)
    return spread_SG @ abs(coarse_K3GG).mean(-3)[..., None, :, :] @ spread_SG.swapaxes(0, 1)


@cache
def matrices(side: int) -> tuple[Float, Float]:
    """Return the matrix that averages a picture's rows to a grid, ``[G, S]``, and the one that
    smooths a grid and enlarges it again, ``[S, G]``."""
    scale = side // FIELD
    compare = np.kron(np.eye(FIELD), np.ones(scale) / scale)
    cells = np.arange(FIELD)
    near = (abs(cells[:, None] - cells) <= _REACH).astype(float)
    near /= near.sum(1, keepdims=True)
    # Bilinear: each pixel's centre lies between two cells' centres, or beyond the last.
    places = np.clip((np.arange(side) + 0.5) / scale - 0.5, 0, FIELD - 1)
    enlarge = np.maximum(1 - abs(places[:, None] - cells), 0)
    return compare.astype(np.float32), (enlarge @ near @ near).astype(np.float32)


@cache
def resting_mouth(side: int) -> Float:
    """Return how far a pixel of an embedded face belongs to its mouth, ``[side, side]``, 0 to 1 with a
    soft edge.

    The mouth is taken from the picture at rest: a laugh that is put on closed lips leaves teeth
    between them, whatever the others show.
    """
    points = at_rest(face_geometry().mean[INNER_LIPS])
    outline = ((points + 1) * (side / 2) - 0.5).round().astype(np.int32)
    lips = cv2.convexHull(outline)
    mask = cv2.fillConvexPoly(np.zeros((side, side), np.float32), lips, 1.0)
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side // 10, side // 10)))
    soft: Float = cv2.GaussianBlur(grown, (0, 0), side / 50)
    return soft
