"""Gaze of a face, and how far its irises have to move for it.

The generator does not follow the irises' landmarks: sent three times as far, they change nothing
(2026-11). So it draws the portrait's own horizontal gaze, and irises go up and down with the lids
alone. `engine.stages.eye_warp` moves them in the finished picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES, EYE_CORNERS
from mimicam.engine.types import EyeShift, Float, MotionCode

_RESPONSE = 1.7
"""Shift of the drawn iris over the driver's. Networks read a part of a drawn shift only: the
tracker 0.25 to 0.7, MediaPipe's iris network 0.4 to 0.75 (ten portraits, 2026-11). With 1.7, 20
lively pairs have a gain of 0.84 by the tracker and 0.99 by the iris network; with 1.35, 0.65 and
0.82."""
_OPEN, _CLOSED = 0.22, 0.12
"""Half eye widths. Height of the opening from which an iris moves in full, and below which it
rests."""
_FARTHEST = 0.5
"""Half eye widths. Largest distance of an iris from the middle. With 0.55 its rim, 0.45 from its
centre, goes behind the corner, and the eye turns white (looked at in four portraits, 2026-11)."""
_LOWEST = 0.12
"""Half eye widths. Largest distance by which an iris moves up or down; beyond 0.2 what the lid hid
is streaky (looked at in five portraits, 2026-11)."""
_WITH_LID = 0.27
"""Share of a lid's motion with which the drawn iris moves up and down. Regression over results of
18 pairs: 0.11 to 0.38 for the upper lid, as much for the lower; the iris's own landmarks add
nothing (2026-11)."""
_ARCH_END, _SKEW_MAX = 0.9, 0.6
"""Half eye widths, and share of the height: limits of a lid's fit against landmarks that
slipped."""
_SIDEWAYS = np.array([name.startswith(("eyeLookIn", "eyeLookOut")) for name in BLENDSHAPE_NAMES])


# Landmarks, a row for each eye; left and right are the picture's.
_LEFT, _RIGHT = np.array(EYE_CORNERS).T
_IRISES = np.array([[468], [473]])
_RINGS = np.array([[469, 470, 471, 472], [474, 475, 476, 477]])
# Three points in the middle of a lid's edge.
_UPPER, _LOWER = np.array([[160, 159, 158], [385, 386, 387]]), np.array([[144, 145, 153], [380, 374, 373]])
_IRIS_WITH_RING = np.hstack([_IRISES, _RINGS])


def with_horizontal_gaze(motion: MotionCode, other: MotionCode) -> MotionCode:
    """Return ``motion`` with the horizontal gaze of ``other``, in landmarks and blendshapes."""
    shape = motion.shape.copy()
    _, along, _ = _axes(shape)
    # Canonical shapes have eye coordinates of their own: the head's turn is not in them.
    apart = _positions(other.shape, _IRISES)[0] - _positions(shape, _IRISES)[0]
    shape[_IRIS_WITH_RING, :2] += (apart * along)[:, None]
    expression = np.where(_SIDEWAYS, other.expression, motion.expression)
    return replace(motion, shape=shape, expression=expression)


def iris_position(shape: Float, weights: tuple[float, float] = (1.0, 1.0)) -> Float:
    """Return where the irises of a canonical shape are between their corners, ``[2]``: the mean u,
    v.

    ``weights``: of the right and the left eye in the mean; if both are 0 they count alike.
    """
    counts = np.array(weights if any(weights) else (1.0, 1.0), np.float32)
    position: Float = (np.stack(_positions(shape, _IRISES))[..., 0] @ (counts / counts.sum())).astype(
        np.float32
    )
    return position


def with_iris_moved(shape: Float, u: float) -> Float:
    """Return a canonical shape whose irises are moved by u half eye widths."""
    moved = shape.copy()
    _, along, _ = _axes(shape)
    moved[_IRIS_WITH_RING, :2] += np.float32(u) * along[:, None]
    return moved


def opening(height: Float) -> Float:
    """Return the share to which irises may move: 1 in an open eye, 0 in one that closes.

    ``height``: of the eyes' openings, half eye widths.
    """
    share: Float = np.clip((height - _CLOSED) / (_OPEN - _CLOSED), 0, 1)
    return share


def with_drawn_irises(motion: MotionCode, portrait: MotionCode) -> MotionCode:
    """Return ``motion`` with its irises at the height at which the generator draws them.

    It draws the portrait's, moved with the lids.
    """
    shape = motion.shape.copy()
    _, along, _ = _axes(shape)
    (_, own), (_, now) = (_positions(each, _IRISES) for each in (portrait.shape, shape))
    moved_by = own[:, 0] - now[:, 0]
    for lid in (_UPPER, _LOWER):
        moved_by += _WITH_LID * (_arches(shape, lid)[0] - _arches(portrait.shape, lid)[0])
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    shape[_IRIS_WITH_RING, :2] += (moved_by[:, None] * across)[:, None]
    return replace(motion, shape=shape)


def eye_shifts(drawn: Float, wanted: Float, response: float = _RESPONSE) -> tuple[EyeShift, ...]:
    """Compute how to move the irises of a picture.

    Args:
        drawn: crop-space landmarks ``[478, 3]`` of the picture as it is.
        wanted: the same, with the irises where they have to be.
        response: factor of the distance along the eye.
    """
    origin, along, scale = _axes(wanted)
    (at, at_v), (to, to_v) = (
        (np.clip(u[:, 0], -_FARTHEST, _FARTHEST), v[:, 0])
        for u, v in (_positions(each, _IRISES) for each in (drawn, wanted))
    )
    upper, upper_skew = _arches(wanted, _UPPER)
    lower, lower_skew = _arches(wanted, _LOWER)
    openness = opening(lower - upper)
    ring = np.linalg.norm(drawn[_RINGS, :2] - drawn[_IRISES, :2], axis=2).mean(axis=1)
    values = {
        "x": origin[:, 0], "y": origin[:, 1],
        "axis_x": along[:, 0], "axis_y": along[:, 1],
        "iris": at, "shift": np.clip(response * openness * (to - at), -_FARTHEST - at, _FARTHEST - at),
        "drop": np.clip(openness * (to_v - at_v), -_LOWEST, _LOWEST),
        "radius": ring / np.sqrt(scale[:, 0]),
        "upper": upper, "upper_skew": upper_skew, "lower": lower, "lower_skew": lower_skew,
    }  # fmt: skip
    return tuple(
        EyeShift(**{name: float(value[eye]) for name, value in values.items()}) for eye in range(len(at))
    )


def _axes(points: Float) -> tuple[Float, Float, Float]:
    """Origin ``[2, 2]``, first axis ``[2, 2]`` and its squared length ``[2, 1]`` of both eyes'
    coordinates."""
    left, right = points[_LEFT, :2], points[_RIGHT, :2]
    along = (right - left) / 2
    scale = np.maximum(np.square(along).sum(axis=1, keepdims=True), 1e-12)
    middle: Float = ((left + right) / 2).astype(np.float32)
    return middle, along.astype(np.float32), scale.astype(np.float32)


def _positions(points: Float, rows: np.ndarray) -> tuple[Float, Float]:
    """Return the eye coordinates u and v, ``[2, n]`` each, of ``n`` landmarks of each eye."""
    origin, along, scale = _axes(points)
    u: Float
    v: Float
    dx, dy = np.moveaxis(points[rows, :2] - origin[:, None], 2, 0)
    x, y = along[:, :1], along[:, 1:]
    u, v = (dx * x + dy * y) / scale, (dy * x - dx * y) / scale
    return u, v


def _arches(points: Float, lids: np.ndarray) -> tuple[Float, Float]:
    """Height and skew, ``[2]`` each, of both eyes' arches: least squares over three middle
    points."""
    u, v = (each.astype(np.float64) for each in _positions(points, lids))
    u = np.clip(u, -_ARCH_END, _ARCH_END)
    arch = 1 - np.square(u)
    # v = height * arch + tilt * arch * u, solved by its normal equations.
    aa, au, uu, av, uv = ((arch * each).sum(axis=1) for each in (arch, arch * u, arch * u * u, v, u * v))
    span = np.maximum(aa * uu - au * au, 1e-9)
    height, tilt = (uu * av - au * uv) / span, (aa * uv - au * av) / span
    skew = np.where(np.abs(height) > _CLOSED / 4, tilt / np.where(height == 0, 1, height), 0)
    return height.astype(np.float32), np.clip(skew, -_SKEW_MAX, _SKEW_MAX).astype(np.float32)
