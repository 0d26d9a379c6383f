"""What expression did to a face, read off its landmarks, its blendshapes and the way it is turned.

Blendshapes alone say four fifths of what the lips do, and the landmarks themselves hold identity too. Both
together, weighed by how much landmarks differ between people and how much within one, say nine tenths, of people never
seen before and without knowing their neutral (a Wiener filter; `training.data.reading` computes it and tells how well it
does).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mimicam.engine.face.geometry import GEOMETRY_FILE, face_geometry
from mimicam.engine.types import Float, MotionCode

_SEEN_SHARE = 0.8
"""Of what landmarks do between two faces of one person. Measured across 14 pairs of people (2026-11): jaws follow at
0.90 with a gain of 0.75, where the filter alone, a share of 0, gives 0.85 and 0.61."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionFilter:
    """Linear maps, of shapes flattened to ``[1434]``: 478 landmarks by x, y, z."""

    modes: Float
    """``[K, 1434]``: the directions in which canonical shapes differ."""
    view_bias: Float
    """``[9, K]``: what the tracker reads differently of a turned face, per `view_terms`, in modes."""
    displacement: Float
    """``[52 + K, 1434]``: the displacement per blendshape and per mode."""


@cache
def expression_filter() -> ExpressionFilter:
    """The bundled maps."""
    with np.load(GEOMETRY_FILE) as data:
        return ExpressionFilter(
            modes=data["reading_modes"].astype(np.float32),
            view_bias=data["reading_view_bias"].astype(np.float32),
            displacement=data["reading_displacement"].astype(np.float32),
        )


def expression_displacement(face: MotionCode, other: MotionCode) -> Float:
    """Canonical displacement ``[478, 3]`` that takes the landmarks from ``other``'s expression to ``face``'s.

    They may be two people: identity is left out as far as one frame tells it. Zero for one and the same face.
    """
    return _displacement(face.shape - other.shape, face.expression - other.expression, _turned(face, other))


def displacement_of_one_person(now: MotionCode, before: MotionCode) -> Float:
    """`expression_displacement` between two faces of one person: what the landmarks did counts for itself.

    Nothing of identity is in it, only the tracker's noise and what a turn does to its reading. Depth is noise mostly.
    """
    reading = expression_filter()
    seen, view = now.shape - before.shape, _turned(now, before)
    displacement = _displacement(seen, now.expression - before.expression, view)
    by_view = ((view @ reading.view_bias) @ reading.modes).reshape(-1, 3)
    displacement[:, :2] += _SEEN_SHARE * (seen - by_view - displacement)[:, :2]
    return displacement


def without_view(shape: Float, rotation: Float) -> Float:
    """A canonical shape ``[478, 3]`` without what the tracker reads differently of a turned face.

    ``rotation``: ``[3, 3]``, crop_from_canonical.
    """
    reading = expression_filter()
    by_view = (view_terms(rotation) @ reading.view_bias @ reading.modes).astype(np.float32)
    plain: Float = shape - by_view.reshape(shape.shape)
    return plain


def displacements(shape: Float, expression: Float, rotation: Float) -> Float:
    """``[..., 478, 3]`` of many faces; the difference of two is `expression_displacement`, by itself it means nothing.

    Args:
        shape: ``[..., 478, 3]``, canonical.
        expression: ``[..., 52]``.
        rotation: ``[..., 3, 3]``, crop_from_canonical.
    """
    return _displacement(shape - face_geometry().mean, expression, view_terms(rotation))


def _displacement(shape: Float, expression: Float, view: Float) -> Float:
    reading = expression_filter()
    modes = shape.reshape(*shape.shape[:-2], -1) @ reading.modes.T - view @ reading.view_bias
    displacement: Float = np.concatenate([expression, modes], axis=-1) @ reading.displacement
    return displacement.reshape(shape.shape)


def _turned(face: MotionCode, other: MotionCode) -> Float:
    difference: Float = view_terms(face.pose.rotation) - view_terms(other.pose.rotation)
    return difference


def view_terms(rotation: Float) -> Float:
    """``[..., 9]``: polynomials of where the camera is, seen from the head; rolling the picture changes nothing.

    ``rotation``: ``[..., 3, 3]``, crop_from_canonical.
    """
    x, y = rotation[..., 2, 0], rotation[..., 2, 1]
    terms: Float = np.stack([x, y, x * x, y * y, x * y, x**3, y**3, x * x * y, x * y * y], axis=-1)
    return terms
