"""Turn a person's gaze to the camera while they look near it; see `engine.stages.eye_warp`.

A gaze is the head's rotation plus the eyes' rotation in the head. Both are counted from the line of
sight of the camera, because the head's pose is weak-perspective. Zero is along it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.one_euro import OneEuro
from mimicam.engine.maths import smoothstep
from mimicam.engine.models.compact.gaze import eye_shifts, iris_position, opening, with_iris_moved
from mimicam.engine.types import EyeShift, Float, MotionCode

_RESPONSE = 1.35
"""Shift of the drawn iris over the correction, as in `engine.models.compact.gaze`. Less than there:
the iris moves in the person's own picture, and a share of it is judged against their lids."""
_LEVER = 0.8
"""Half eye widths. Distance of an iris from the eye's centre of rotation: 12 mm of 15 mm (mean
adult)."""
_NEAR_RAD, _FAR_RAD = np.deg2rad(14.0), np.deg2rad(24.0)
"""Angles from the camera up to which a gaze is turned to it, and from which it is left alone. A
screen's middle lies 10 to 17 degrees below its camera, a second screen 25 and more beside it."""
_ZERO_RAD = np.deg2rad([0.0, 5.8]).astype(np.float32)
"""Yaw and pitch that are read of people who look into the camera: the median of 14 clips (2026-11),
with a standard deviation of 4.6 degrees in pitch. `EyeContact.calibrate` measures the person's
own."""
_KEPT = 0.1
"""Share of the gaze's own movement that stays, so that eyes do not look frozen."""
_EASE_S = 0.12
"""Seconds. Time constant with which the correction takes hold and lets go."""
_LONGEST_STEP_S = 0.1
_BOTH = (1.0, 1.0)
_FARTHEST = 0.35
"""Half eye widths. Largest correction; beyond it the lids would no longer fit the iris."""


class EyeContact:
    """Computes the shifts of one person's irises, frame by frame. Not thread-safe."""

    def __init__(self) -> None:
        self._filter = OneEuro(cutoff_hz=2.0, beta=20.0)
        self._zero = _ZERO_RAD
        self._share = 0.0
        self._last_ns: int | None = None
        self._calibrates = False

    def reset(self) -> None:
        """Drop the history: the face was lost, or another one follows."""
        self._filter.reset()
        self._share, self._last_ns = 0.0, None

    def calibrate(self) -> None:
        """Take the next gaze as one into the camera."""
        self._calibrates = True

    def __call__(
        self, motion: MotionCode, captured_ns: int, amount: float, seen: tuple[float, float] = _BOTH
    ) -> tuple[EyeShift, ...]:
        """Return how the irises of the frame have to move; empty where they stay.

        Args:
            motion: of the face in the crop of the frame that is warped.
            captured_ns: time of the frame.
            amount: 0 leaves the gaze, 1 corrects it.
            seen: how far the right and the left eye are seen, 0..1. A covered one is left, and the
                gaze is read from the other.
        """
        gaze = self._filter(gaze_rad(motion, seen), captured_ns)
        if self._calibrates:
            self._zero, self._calibrates = gaze, False
        away = gaze - self._zero
        near = smoothstep(float((_FAR_RAD - np.linalg.norm(away)) / (_FAR_RAD - _NEAR_RAD)))
        # Some movement is kept: eyes that never move look frozen.
        share = self._eased(near, captured_ns) * min(max(amount, 0.0), 1.0) * (1 - _KEPT)
        if share == 0.0 or not any(seen):
            # Nothing at all, so that the picture keeps its own pixels.
            return ()
        turned = _turned(motion, eyes_rad(motion, seen), -np.float32(share) * away)
        return tuple(
            replace(eye, shift=eye.shift * part, rise=eye.rise * part)
            for eye, part in zip(turned, seen, strict=True)
        )

    def _eased(self, goal: float, captured_ns: int) -> float:
        step_s = 0.0 if self._last_ns is None else (captured_ns - self._last_ns) * 1e-9
        self._last_ns = captured_ns
        # The step is limited: a gap in the video must not finish the ease at once.
        part = 1.0 - float(np.exp(-min(max(step_s, 0.0), _LONGEST_STEP_S) / _EASE_S))
        self._share += part * (goal - self._share)
        return self._share


def gaze_rad(motion: MotionCode, seen: tuple[float, float] = _BOTH) -> Float:
    """Return yaw and pitch of a gaze, ``[2]``; positive looks to larger x, and down.

    ``seen``: as in `EyeContact`.
    """
    yaw, pitch, _ = motion.pose.angles_rad()
    return eyes_rad(motion, seen) + np.array([yaw, pitch], np.float32)


def eyes_rad(motion: MotionCode, seen: tuple[float, float] = _BOTH) -> Float:
    """Return yaw and pitch of the eyes in the head, ``[2]``: the mean of both, so they may
    converge.

    ``seen``: as in `EyeContact`.
    """
    away = iris_position(motion.shape, seen) - iris_position(face_geometry().mean, seen)
    # Short of 1, where the arcsine would amplify the tracker's noise without limit.
    angles: Float = np.arcsin(np.clip(away / _LEVER, -0.9, 0.9)).astype(np.float32)
    return angles


def _turned(motion: MotionCode, eyes: Float, turn: Float) -> tuple[EyeShift, ...]:
    """Return the shifts for eyes that turn by ``turn`` from where they are."""
    wanted = _LEVER * (np.sin(eyes + turn) - np.sin(eyes))
    moved = np.clip(wanted, -_FARTHEST, _FARTHEST).astype(np.float32)
    drawn, aside = (
        place(shape, motion.pose) for shape in (motion.shape, with_iris_moved(motion.shape, float(moved[0])))
    )
    shifts = eye_shifts(drawn, aside, _RESPONSE)
    # Closing eyes rest: blinks stay.
    shares = opening(np.array([eye.lower - eye.upper for eye in shifts], np.float32))
    return tuple(
        replace(eye, rise=float(moved[1] * share)) for eye, share in zip(shifts, shares, strict=True)
    )
