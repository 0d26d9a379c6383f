"""Where a face looks, and how far its irises have to move for that.

The generator does not follow the irises' landmarks: sent three times as far, they change nothing
(2026-11). So it draws the portrait's own horizontal gaze, and `engine.stages.eye_warp` moves the irises
of the finished picture. The generator follows vertical gaze together with the lids.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import EyeShift, Float, MotionCode

_RESPONSE = 1.35
"""Shift of the drawn iris over the driver's. In results the tracker reads 0.75 of a shift (six lively
pairs, 2026-11: gain 0.59 with 1.0 and 0.73 with 1.3, correlation 0.89 with both)."""
_OPEN, _CLOSED = 0.22, 0.12
"""Half eye widths. Height of the opening from which an iris moves in full, and below which it rests."""
_FARTHEST = 0.5
"""Half eye widths. Largest distance of an iris from the middle. With 0.55 its rim, 0.45 from its centre,
goes behind the corner, and the eye turns white (looked at in four portraits, 2026-11)."""
_ARCH_END, _SKEW_MAX = 0.9, 0.6
"""Half eye widths, and share of the height: limits of a lid's fit against landmarks that slipped."""
_SIDEWAYS = np.array([name.startswith(("eyeLookIn", "eyeLookOut")) for name in BLENDSHAPE_NAMES])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eye:
    """Landmarks of an eye; left and right are the picture's."""

    left: int
    right: int
    iris: int
    ring: tuple[int, ...]
    upper: tuple[int, ...]
    """Three points in the middle of the lid's edge."""
    lower: tuple[int, ...]


_EYES = (
    _Eye(left=33, right=133, iris=468, ring=(469, 470, 471, 472), upper=(160, 159, 158), lower=(144, 145, 153)),
    _Eye(left=362, right=263, iris=473, ring=(474, 475, 476, 477), upper=(385, 386, 387), lower=(380, 374, 373)),
)  # fmt: skip


def with_horizontal_gaze(motion: MotionCode, other: MotionCode) -> MotionCode:
    """Return ``motion`` with the horizontal gaze of ``other``, in landmarks and blendshapes."""
    shape = motion.shape.copy()
    for eye in _EYES:
        _, axes = _frame(shape, eye)
        # Canonical shapes have eye coordinates of their own: the head's turn is not in them.
        apart = _position(other.shape, eye)[0] - _position(shape, eye)[0]
        shape[[eye.iris, *eye.ring], :2] += apart * axes[0]
    expression = np.where(_SIDEWAYS, other.expression, motion.expression)
    return replace(motion, shape=shape, expression=expression)


def eye_shifts(drawn: Float, wanted: Float) -> tuple[EyeShift, ...]:
    """Compute how to move the irises of a picture.

    Args:
        drawn: crop-space landmarks ``[478, 3]`` of the picture as it is.
        wanted: the same, with the irises where they have to be.
    """
    return tuple(_shift(drawn, wanted, eye) for eye in _EYES)


def _shift(drawn: Float, wanted: Float, eye: _Eye) -> EyeShift:
    origin, axes = _frame(wanted, eye)
    at, to = (np.clip(_position(each, eye)[0], -_FARTHEST, _FARTHEST) for each in (drawn, wanted))
    upper, upper_skew = _arch(wanted, eye, eye.upper)
    lower, lower_skew = _arch(wanted, eye, eye.lower)
    openness = np.clip((lower - upper - _CLOSED) / (_OPEN - _CLOSED), 0, 1)
    ring = drawn[list(eye.ring), :2] - drawn[eye.iris, :2]
    reach = float(np.clip(_RESPONSE * openness * (to - at), -_FARTHEST - at, _FARTHEST - at))
    return EyeShift(
        x=float(origin[0]), y=float(origin[1]),
        axis_x=float(axes[0, 0]), axis_y=float(axes[0, 1]),
        iris=float(at), shift=reach,
        radius=float(np.linalg.norm(ring, axis=1).mean() / np.linalg.norm(axes[0])),
        upper=upper, upper_skew=upper_skew, lower=lower, lower_skew=lower_skew,
    )  # fmt: skip


def _frame(points: Float, eye: _Eye) -> tuple[Float, Float]:
    """Origin ``[2]`` and axes ``[2, 2]``, a row each, of an eye's coordinates."""
    left, right = points[eye.left, :2], points[eye.right, :2]
    along = (right - left) / 2
    middle: Float = ((left + right) / 2).astype(np.float32)
    return middle, np.array([along, [-along[1], along[0]]], np.float32)


def _to_eye(points: Float, eye: _Eye, rows: list[int]) -> Float:
    origin, axes = _frame(points, eye)
    scale = np.float32(max(float(axes[0] @ axes[0]), 1e-12))
    coordinates: Float = ((points[rows, :2] - origin) @ axes.T / scale).astype(np.float32)
    return coordinates


def _position(points: Float, eye: _Eye) -> Float:
    """Position u, v of an iris between its corners, ``[2]``."""
    position: Float = _to_eye(points, eye, [eye.iris])[0]
    return position


def _arch(points: Float, eye: _Eye, lid: tuple[int, ...]) -> tuple[float, float]:
    """Height and skew of a lid's arch, by least squares over its three middle points."""
    u, v = _to_eye(points, eye, list(lid)).T
    arch = 1 - np.square(np.clip(u, -_ARCH_END, _ARCH_END))
    height, tilt = np.linalg.lstsq(np.stack([arch, arch * u], axis=1), v, rcond=None)[0]
    skew = tilt / height if abs(height) > _CLOSED / 4 else 0.0
    return float(height), float(np.clip(skew, -_SKEW_MAX, _SKEW_MAX))
