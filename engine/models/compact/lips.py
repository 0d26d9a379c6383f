"""Lips of a target: their outline, and how they shut where the driver's are shut.

A displacement that shuts thin lips leaves others apart, and what is removed of a portrait that
laughs or talks is only an estimate of its opening. But lips that touch do so on every face. So the
distance between the lips is taken from the driver, the more exactly the smaller it is.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.types import Float

UPPER, LOWER = np.array(INNER_LIPS[1:10]), np.array(INNER_LIPS[:10:-1])
"""Edges of the lips that touch, from the right corner to the left."""
_CORNERS = (INNER_LIPS[0], INNER_LIPS[10])
_UPPER_LIP = (*UPPER, *_CORNERS, 61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
_LOWER_LIP = (*LOWER, 146, 91, 181, 84, 17, 314, 405, 321, 375)
_SKIN = 0.2
"""Distance from the lips at which skin moves by a third as far, head units."""
_APART, _TOUCHING = 0.45, 0.04
"""Distances of the driver's lips, head units: from the first on, nothing is changed; below the
second, the lips are pressed on each other."""
_FINER = 4
"""Points of the outline for each landmark."""
_PRESSED = 0.25
"""Share of the portrait's own opening by which lips that touch overlap. The warp leaves about as
much of the teeth between them."""


def lip_gaps(shape: Float) -> Float:
    """Return the distances between the lips, at least 0, ``[9]``; ``shape``: canonical ``[478,
    3]``."""
    gaps: Float = np.maximum(shape[LOWER, 1] - shape[UPPER, 1], 0.0)
    return gaps


def with_lips_closed(shape: Float, wanted: Float, own: Float) -> Float:
    """Return a target's canonical shape with lips at most as far apart as wanted, where that is
    near.

    Args:
        shape: ``[478, 3]``.
        wanted: distances between the driver's lips, ``[9]``; see `lip_gaps`.
        own: distances between the lips in the portrait itself, ``[9]``.
    """
    excess = np.maximum(lip_gaps(shape) - wanted, 0.0) * np.maximum(1 - wanted / _APART, 0.0)
    # The warp narrows an open mouth, and never quite to nothing.
    excess = excess + _PRESSED * own * np.maximum(1 - wanted / _TOUCHING, 0.0)
    closed = shape.copy()
    closed[:, 1] += _moves() @ excess.astype(np.float32)
    return closed


def touching(shape: Float, landmarks: Float) -> Float:
    """Return landmarks ``[478, 3]`` in which lips that overlap in ``shape`` touch."""
    crossed = shape[LOWER, 1] < shape[UPPER, 1]
    if not crossed.any():
        return landmarks
    out, upper, lower = landmarks.copy(), UPPER[crossed], LOWER[crossed]
    out[upper] = out[lower] = (landmarks[upper] + landmarks[lower]) / 2
    return out


def inner_outline(points: Float) -> Float:
    """Return the outline of the opening between the lips, rounded, ``[..., 80, D]``.

    Args:
        points: those of `INNER_LIPS`, ``[..., 20, D]``: from one corner along the upper lip to the
            other, and back.
    """
    near, share = _rounding()
    # Not a matrix product: it would round a batch of faces otherwise than one of them.
    first, second, third, fourth = (share[:, k, None] * points[..., near[:, k], :] for k in range(4))
    # OpenCV fills contiguous points only.
    return np.ascontiguousarray(first + second + third + fourth)


@cache
def _rounding() -> tuple[npt.NDArray[np.intp], Float]:
    """Return Catmull and Rom's spline through the points of both lips: for each of 80 points of the
    outline four of the 20, and their shares, ``[80, 4]`` each.

    The corners, where the lips meet, stay sharp.
    """
    eye = np.eye(20)
    lips = (eye[:11], np.concatenate([eye[10:], eye[:1]]))
    rows = []
    for lip in lips:
        # Beyond its ends each lip goes straight on.
        line = np.concatenate([2 * lip[:1] - lip[1:2], lip, 2 * lip[-1:] - lip[-2:-1]])
        for before, start, end, after in zip(line, line[1:], line[2:], line[3:], strict=False):
            for t in np.arange(_FINER) / _FINER:
                rows.append(
                    start
                    + 0.5 * t * (end - before)
                    + t**2 * (before - 2.5 * start + 2 * end - 0.5 * after)
                    + t**3 * 0.5 * (3 * (start - end) + after - before)
                )
    matrix = np.array(rows)
    near = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :4]
    return near, np.take_along_axis(matrix, near, axis=1).astype(np.float32)


@cache
def _moves() -> Float:
    """Return how far each landmark moves down for each distance that is taken away, ``[478, 9]``."""
    mean = face_geometry().mean[:, :2]
    to_upper, to_lower = (
        np.linalg.norm(mean[:, None] - mean[None, list(lip)], axis=-1).min(axis=1)
        for lip in (_UPPER_LIP, _LOWER_LIP)
    )
    below = to_lower < to_upper
    # Both lips meet halfway, and carry the skin around them.
    share = np.where(below, -0.5, 0.5) * np.exp(-((np.minimum(to_upper, to_lower) / _SKIN) ** 2))
    # Each landmark follows the distances at its own place between the corners, where there is none.
    places = [mean[_CORNERS[0], 0], *(mean[UPPER, 0] + mean[LOWER, 0]) / 2, mean[_CORNERS[1], 0]]
    along = [np.interp(mean[:, 0], places, unit) for unit in np.eye(len(places))[1:-1]]
    return (share[:, None] * np.stack(along, axis=1)).astype(np.float32)
