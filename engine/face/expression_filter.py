"""Estimate the displacement by expression from landmarks, blendshapes and head rotation.

Blendshapes alone explain four fifths of lip motion, and landmarks alone also hold identity. A
Wiener filter combines both. It weighs landmarks by how much they differ between people and within
one person. It explains nine tenths of the motion of people not seen in training, without their
neutral. `training.data.reading` computes the filter and measures its accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mimicam.engine.face.geometry import GEOMETRY_FILE, face_geometry
from mimicam.engine.types import Float, MotionCode

_LANDMARK_WEIGHT = 0.8
"""Weight of a person's own landmark motion against the filter's estimate, between two faces of one
person. Measured across 14 pairs of people (2026-11): jaws follow at 0.90 with a gain of 0.75. The
filter alone, a weight of 0, gives 0.85 and 0.61."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionFilter:
    """Linear maps of shapes flattened to ``[1434]``: 478 landmarks by x, y, z."""

    modes: Float
    """``[K, 1434]``: directions in which canonical shapes differ."""
    view_bias: Float
    """``[9, K]``: the tracker's bias on turned faces, per entry of `view_terms`, in modes."""
    displacement: Float
    """``[52 + K, 1434]``: displacement per unit of each blendshape and each mode."""


@cache
def expression_filter() -> ExpressionFilter:
    """Load the bundled filter, once."""
    with np.load(GEOMETRY_FILE) as data:
        return ExpressionFilter(
            modes=data["reading_modes"].astype(np.float32),
            view_bias=data["reading_view_bias"].astype(np.float32),
            displacement=data["reading_displacement"].astype(np.float32),
        )


def expression_displacement(face: MotionCode, other: MotionCode) -> Float:
    """Return the canonical displacement ``[478, 3]`` from ``other``'s expression to ``face``'s.

    The two may be different people: identity is removed as far as one frame allows. Zero for one
    and the same face.
    """
    return _displacement(
        face.shape - other.shape, face.expression - other.expression, _view_change(face, other)
    )


def displacement_of_one_person(now: MotionCode, before: MotionCode) -> Float:
    """Return `expression_displacement` between two faces of one person, by their landmark motion.

    It contains no identity, only the tracker's noise and its bias on turned faces. Depth comes from
    the filter alone, since the tracker's depth is mostly noise.
    """
    maps = expression_filter()
    moved, view = now.shape - before.shape, _view_change(now, before)
    displacement = _displacement(moved, now.expression - before.expression, view)
    # A turn changes the tracked shape of the same face; that part is no expression.
    by_view = ((view @ maps.view_bias) @ maps.modes).reshape(-1, 3)
    # x and y only, since the tracker's depth is mostly noise.
    displacement[:, :2] += _LANDMARK_WEIGHT * (moved - by_view - displacement)[:, :2]
    return displacement


def without_view(shape: Float, rotation: Float) -> Float:
    """Return a canonical shape ``[478, 3]`` without the tracker's bias on turned faces.

    ``rotation``: ``[3, 3]``, crop_from_canonical.
    """
    maps = expression_filter()
    by_view = (view_terms(rotation) @ maps.view_bias @ maps.modes).astype(np.float32)
    plain: Float = shape - by_view.reshape(shape.shape)
    return plain


def displacements(shape: Float, expression: Float, rotation: Float) -> Float:
    """Return displacements ``[..., 478, 3]`` of many faces, up to a common zero point.

    Only the difference of two is meaningful: it is `expression_displacement`.

    Args:
        shape: ``[..., 478, 3]``, canonical.
        expression: ``[..., 52]``.
        rotation: ``[..., 3, 3]``, crop_from_canonical.
    """
    return _displacement(shape - face_geometry().mean, expression, view_terms(rotation))


def _displacement(shape: Float, expression: Float, view: Float) -> Float:
    maps = expression_filter()
    modes = shape.reshape(*shape.shape[:-2], -1) @ maps.modes.T - view @ maps.view_bias
    # One linear map of both observations: blendshapes, and shape modes without the view's bias.
    displacement: Float = np.concatenate([expression, modes], axis=-1) @ maps.displacement
    return displacement.reshape(shape.shape)


def _view_change(face: MotionCode, other: MotionCode) -> Float:
    difference: Float = view_terms(face.pose.rotation) - view_terms(other.pose.rotation)
    return difference


def view_terms(rotation: Float) -> Float:
    """Return polynomials ``[..., 9]`` of the camera's direction seen from the head.

    Rolling the picture does not change them.

    ``rotation``: ``[..., 3, 3]``, crop_from_canonical.
    """
    # The rotation's third row is the camera's axis in the head's frame; image roll leaves it.
    x, y = rotation[..., 2, 0], rotation[..., 2, 1]
    terms: Float = np.stack([x, y, x * x, y * y, x * y, x**3, y**3, x * x * y, x * y * y], axis=-1)
    return terms
