"""Move hair, hats and the back of the head with the skull, as one rigid piece.

The generator's flow is right near the face, where its control points are. Further out it fades to
the background's rest, as in its training clips. A head that leaves its place would then pull out
its hair, and leave some of it behind. With a matte the background is a layer of its own, so nothing
but the head is around the face: there the flow is replaced by the skull's own motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimicam.engine.face.geometry import place
from mimicam.engine.types import Float, HeadPose, MotionCode, WarpFields

CELLS = 64
"""Side g of the map of weights."""
NUMBERS = 8
"""Numbers of a packed motion besides its weights."""
_SKULL = np.array([[0.0, 0.3, 1.1]], np.float32)
"""Centre of the skull, head units: the outline of a head stays around it when the head turns."""
_NEAR = 1.0
"""Head units around the face over which the skull's motion takes over. With 0.35 a nodding head
shows two hairlines, with 1.0 none, and no hair stays behind with either (16 portraits, 14 poses,
2026-11)."""
_CHIN = 152
_BAND = 0.8
"""Head units above the chin over which it ends: neck and shoulders follow the generator."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HairMotion:
    """Motion of the hair in one target."""

    weight: Float
    """``[g, g]`` in 0..1: share of the skull's motion, by the target's pixels."""
    source_from_target: Float
    """``[2, 3]``, crop units: the skull's motion."""
    lowest: Float
    """``[2]``: row of the source's chin, crop units, and 1 / crop units over which the motion ends
    there. A pixel that comes from below belongs to the shoulders."""

    def packed(self) -> Float:
        """Return weights, motion and lowest row in one array, ``[g * g + NUMBERS]``."""
        return np.concatenate([self.weight.ravel(), self.source_from_target.ravel(), self.lowest])

    def between(self, other: HairMotion, share: float, out: Float) -> HairMotion:
        """Interpolate to another target of the same portrait, with the weights in ``out``."""
        cv2.addWeighted(self.weight, 1 - share, other.weight, share, 0.0, dst=out)
        matrix = (1 - share) * self.source_from_target + share * other.source_from_target
        return HairMotion(weight=out, source_from_target=matrix.astype(np.float32), lowest=other.lowest)


class RigidHair:
    """Computes the hair's motion for the targets of one portrait. Not thread-safe."""

    def __init__(self, source: MotionCode) -> None:
        """Set up for a portrait with this motion of its own."""
        self._pose, landmarks = source.pose, place(source.shape, source.pose)
        self._x, self._y = _places(CELLS).transpose(2, 0, 1).copy()
        self._row, self._away, self._across, self._down = np.empty((4, CELLS, CELLS), np.float32)
        self._own = _Oval.around(landmarks, source.pose)
        rate = 1 / (_BAND * source.pose.scale)
        self._lowest = np.array([landmarks[_CHIN, 1], rate], np.float32)

    def __call__(self, target: MotionCode, landmarks: Float, out: Float) -> HairMotion:
        """Return the motion to a target.

        Args:
            target: motion, whose pose moves the skull.
            landmarks: the target's, crop space ``[478, 3]``.
            out: receives the weights.
        """
        matrix = skull_motion(self._pose, target.pose)
        motion = HairMotion(weight=out, source_from_target=matrix, lowest=self._lowest)
        if np.array_equal(matrix, np.eye(2, 3)):
            out.fill(0)
            return motion
        # Outside of the face where it is, and where it was.
        self._outside(_Oval.around(landmarks, target.pose), out)
        cv2.min(out, self._outside(self._own.seen_from(matrix), self._away), dst=out)
        # A share of 1 from `_BAND` above the chin on, 0 below it.
        row, rate = map(float, self._lowest)
        above = self._linear(-rate * matrix[1], row * rate, self._row)
        cv2.multiply(out, np.clip(above, 0.0, 1.0, out=above), dst=out)
        return motion

    def _outside(self, oval: _Oval, out: Float) -> Float:
        """Return 0 in a face and 1 from `_NEAR` on outside of it, in ``out``, ``[g, g]``."""
        across, down = (
            self._linear(line, 0.0, plane)
            for line, plane in zip(oval.unit_from_crop, (self._across, self._down), strict=True)
        )
        away = cv2.magnitude(across, down, magnitude=across)
        # From radii beyond the oval to shares of the way.
        cv2.addWeighted(away, oval.reach, away, 0.0, -oval.reach, dst=away)
        np.clip(away, 0.0, 1.0, out=away)
        # Smoothstep, without temporary maps.
        np.subtract(3.0, np.multiply(away, 2.0, out=out), out=out)
        out *= away
        out *= away
        return out

    def _linear(self, line: Float, more: float, out: Float) -> Float:
        """Return ``line @ (x, y, 1) + more`` at each cell, in ``out``."""
        x, y, shift = map(float, line)
        return cv2.addWeighted(self._x, x, self._y, y, shift + more, dst=out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Oval:
    """A face's outline, as an ellipse: it moves with the face without steps, unlike a drawn
    mask."""

    unit_from_crop: Float
    """``[2, 3]``: crop units to a circle of radius 1."""
    reach: float
    """Radii over which the skull's motion takes over, inverse."""

    @staticmethod
    def around(landmarks: Float, pose: HeadPose) -> _Oval:
        """Fit it to crop-space landmarks ``[478, 3]``, upright in the head."""
        roll = pose.angles_rad()[2]
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
        upright = landmarks[:, :2] @ turn.T
        low, high = upright.min(axis=0), upright.max(axis=0)
        half = np.maximum((high - low) / 2, 1e-3)
        unit = np.column_stack([turn, -(low + high) / 2]) / half[:, None]
        return _Oval(unit_from_crop=unit, reach=float(half.mean() / (_NEAR * pose.scale)))

    def seen_from(self, source_from_target: Float) -> _Oval:
        """Return the oval of the source at the target's places."""
        whole = np.vstack([source_from_target, [0, 0, 1]]).astype(np.float32)
        return replace(self, unit_from_crop=self.unit_from_crop @ whole)


class HairWarp:
    """Gives a generator's warp fields the motion of hair, on the host. Not thread-safe.

    `engine.models.compact.device_hair` does the same on a GPU.
    """

    def __init__(self, size: int) -> None:
        """Allocate the buffers; ``size`` is S, the side of the generator's picture."""
        h = size // 2
        self._places = _places(h)
        self._y = self._places[..., 1].copy()
        self._skull, self._flow = np.empty((2, h, h, 2), np.float32)
        self._weight, self._row, self._rest = np.empty((3, h, h), np.float32)
        self._visibility = np.empty((size, size), np.float32)

    def __call__(self, fields: WarpFields, hair: HairMotion) -> WarpFields:
        """Return the changed fields; the next call overwrites their buffers."""
        if not hair.weight.any():
            return fields
        weight, (row, rate) = (
            cv2.resize(hair.weight, self._row.shape, dst=self._weight),
            map(float, hair.lowest),
        )
        # A pixel that comes from the shoulders stays: the head may have moved in front of them.
        above = cv2.extractChannel(fields.flow, 1, dst=self._row)
        cv2.addWeighted(above, -rate, self._y, -rate, row * rate, dst=above)
        cv2.multiply(weight, np.clip(above, 0.0, 1.0, out=above), dst=weight)
        skull = cv2.transform(self._places, hair.source_from_target - np.eye(2, 3), dst=self._skull)
        rest = cv2.subtract(1.0, weight, dst=self._rest)
        flow = cv2.blendLinear(skull, fields.flow, weight, rest, dst=self._flow)
        # What the skull's motion shows is in the portrait: nothing has to be inpainted.
        visibility = cv2.resize(weight, self._visibility.shape, dst=self._visibility)
        cv2.max(fields.visibility, visibility, dst=visibility)
        return replace(fields, flow=flow, visibility=visibility)


def _places(cells: int) -> Float:
    """Return the crop-space positions of a square map's cells, ``[cells, cells, 2]``."""
    axis = (np.arange(cells, dtype=np.float32) + 0.5) * (2 / cells) - 1
    return np.stack(np.meshgrid(axis, axis), axis=-1).astype(np.float32)


def skull_motion(source: HeadPose, target: HeadPose) -> Float:
    """Return source_from_target ``[2, 3]`` of the skull in the picture plane: roll, scale and
    place.

    It is exactly the identity while the head keeps its pose.
    """
    roll, ratio = source.angles_rad()[2] - target.angles_rad()[2], source.scale / target.scale
    along, across = ratio * np.cos(roll), ratio * np.sin(roll)
    turn = np.array([[along, -across], [across, along]], np.float32)
    own, moved = (place(_SKULL, pose)[0, :2] for pose in (source, target))
    # Not a product of matrices, whose rounding would move a head that keeps its pose.
    return np.column_stack([turn, own - (turn * moved).sum(axis=1)]).astype(np.float32)
