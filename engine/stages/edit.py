"""Put the driver's motion on the portrait's: gains, modes, and the driver's neutral (DPE, equations 3 to 7).

DPE adds the driver's code to the source's latent. Here both faces are read by the tracker, so the codes are
differences: what the driver does beyond their neutral is added to what the portrait does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from engine.stages.geometry import face_geometry
from engine.stages.landmarks import BLENDSHAPE_NAMES
from engine.stages.motion import Drive, make_drive, shape_change
from engine.stages.reading import displacement_of_one_person, expression_displacement
from engine.types import EditSettings, Float, HeadPose, Mode, MotionCode

_NAMES = list(BLENDSHAPE_NAMES)
_NEUTRAL_SHAPES = [
    _NAMES.index(n)
    for n in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
              "mouthPucker", "mouthFunnel")
]  # fmt: skip
_CALM = np.full(len(_NAMES), 0.4, np.float32)
"""A neutral face stays below these: a driver who starts with closed eyes has not chosen them as neutral."""
_CALM[_NEUTRAL_SHAPES] = (0.08, 0.2, 0.2, 0.25, 0.25, 0.3, 0.3, 0.2)
_CALM_TURN_RAD = np.deg2rad(15.0)
_SETTLE_S = 2.0
_EASE_S, _EASED_S = 0.06, 1.0
"""Of each low pass: 96 % of the way after 0.3 s; and when nothing of it is left."""
_MAX_TURN_RAD = np.deg2rad(50.0)
_SCALE_LIMITS = (0.6, 1.6)
_SHIFT_LIMIT = 0.6
_UNEXPLAINED_LIMIT = 0.2
"""Head units, about 12 mm: more is a tracker that slipped."""


class AutoAnchor:
    """The driver's neutral: the calmest face of the first two seconds, or the one at `calibrate`."""

    def __init__(self) -> None:
        self._anchor: MotionCode | None = None
        self._score = np.inf
        self._first_ns: int | None = None
        self._wanted = False

    def reset(self) -> None:
        """Look for the neutral anew."""
        self._anchor, self._score, self._first_ns = None, np.inf, None

    def calibrate(self) -> None:
        """Take the next face."""
        self._wanted = True

    def __call__(self, motion: MotionCode, captured_ns: int) -> MotionCode:
        """The anchor, after seeing this frame."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        score = unrest(motion)
        settling = captured_ns - self._first_ns < _SETTLE_S * 1e9
        if self._wanted or self._anchor is None or (settling and score < self._score):
            self._score = -np.inf if self._wanted else score
            self._anchor, self._wanted = motion, False
        return self._anchor


class EasedAnchor:
    """`AutoAnchor` without a jump: the neutral goes from one face to the next, by the frames' own times.

    Two low passes, one after the other, so that it starts softly, and stays near a neutral that is still being found.
    """

    jumped = False
    """See `engine.stages.reenact.Anchor`."""

    def __init__(self) -> None:
        self._choose = AutoAnchor()
        self._wanted: MotionCode | None = None
        self._wanted_ns = self._last_ns = 0
        self._between: MotionCode | None = None
        self._shown: MotionCode | None = None

    def calibrate(self) -> None:
        """Take the next face."""
        self._choose.calibrate()

    def __call__(self, motion: MotionCode, captured_ns: int) -> MotionCode:
        """The neutral to count from, after seeing this frame."""
        wanted = self._choose(motion, captured_ns)
        if wanted is not self._wanted:
            self._wanted, self._wanted_ns = wanted, captured_ns
        share = 1.0 - math.exp(-max(captured_ns - self._last_ns, 0) * 1e-9 / _EASE_S)
        self._last_ns = captured_ns
        if self._between is None or self._shown is None or captured_ns - self._wanted_ns > _EASED_S * 1e9:
            self._between = self._shown = wanted
        else:
            self._between = between(self._between, wanted, share)
            self._shown = between(self._shown, self._between, share)
        return self._shown


def between(a: MotionCode, b: MotionCode, share: float) -> MotionCode:
    """A face on the way: 0 is ``a``, 1 is ``b``."""
    turn = _scaled_rotation(b.pose.rotation @ a.pose.rotation.T, share, np.pi)
    part = np.float32(share)
    return MotionCode(
        expression=a.expression + part * (b.expression - a.expression),
        shape=a.shape + part * (b.shape - a.shape),
        pose=HeadPose(
            rotation=turn @ a.pose.rotation,
            translation=a.pose.translation + part * (b.pose.translation - a.pose.translation),
            scale=a.pose.scale + share * (b.pose.scale - a.pose.scale),
        ),
    )


def unrest(motion: MotionCode) -> float:
    """How far from a calm frontal face: 0 is at rest."""
    yaw, pitch, roll = motion.pose.angles_rad()
    return float(motion.expression[_NEUTRAL_SHAPES].sum()) + 2 * (abs(yaw) + 0.5 * abs(pitch) + abs(roll))


def edit(
    portrait: MotionCode, driver: MotionCode, anchor: MotionCode | None, settings: EditSettings
) -> Drive:
    """What the portrait shall do: `edit_motion`, as the generator is told it (for a model of 256 pixels).

    Args: see `edit_motion`.
    """
    return make_drive(portrait, edit_motion(portrait, driver, anchor, settings))


def edit_motion(
    portrait: MotionCode, driver: MotionCode, anchor: MotionCode | None, settings: EditSettings
) -> MotionCode:
    """Where the portrait's face shall be, and with which expression.

    Args:
        portrait: the source's own motion.
        driver: the driver's motion now.
        anchor: the driver's neutral; None takes the driver's motion as it is, not relative to anything.
        settings: mode and gains.
    """
    if settings.mirror:
        driver, anchor = mirrored(driver), None if anchor is None else mirrored(anchor)
    expression, pose, shape = portrait.expression, portrait.pose, portrait.shape
    if settings.mode is not Mode.POSE:
        expression = edit_expression(portrait, driver, anchor, settings.expression_gain)
        shape = shape + shape_change(expression - portrait.expression)
        shape = shape + settings.expression_gain * unexplained(portrait, driver, anchor)
    if settings.mode is not Mode.EXP:
        pose = edit_pose(
            portrait.pose, driver.pose, None if anchor is None else anchor.pose, settings.pose_gain
        )
    return replace(portrait, expression=expression, pose=pose, shape=shape)


def edit_expression(
    portrait: MotionCode, driver: MotionCode, anchor: MotionCode | None, gain: float
) -> Float:
    """Target blendshapes ``[52]`` in 0..1.

    Relative to an anchor, the driver's neutral becomes the portrait's and the driver's extreme the extreme:
    a closed eye closes whatever the two faces' resting lids are.
    """
    own, now = portrait.expression, driver.expression
    if anchor is None:
        target = own + gain * (now - own)
    else:
        rest = np.minimum(anchor.expression, _CALM)
        room = np.where(now > rest, (1 - own) / np.maximum(1 - rest, 0.2), own / np.maximum(rest, 0.2))
        target = own + gain * (now - rest) * np.clip(room, 0.0, 1.5)
    clipped: Float = np.clip(target, 0.0, 1.0).astype(np.float32)
    return clipped


def unexplained(portrait: MotionCode, driver: MotionCode, anchor: MotionCode | None) -> Float:
    """What the landmarks say of the driver's expression beyond the blendshapes, canonical ``[478, 3]``.

    Counted from the anchor or, without one, from the portrait's own expression. A blendshape moves the mean face's
    landmarks, which explains four fifths of what the lips do; see `engine.stages.reading`.
    """
    if anchor is None:
        read, base = expression_displacement(driver, portrait), portrait
    else:
        read, base = displacement_of_one_person(driver, anchor), anchor
    beyond = read - shape_change(driver.expression - base.expression)
    limited: Float = np.clip(beyond, -_UNEXPLAINED_LIMIT, _UNEXPLAINED_LIMIT)
    return limited


def edit_pose(portrait: HeadPose, driver: HeadPose, anchor: HeadPose | None, gain: float) -> HeadPose:
    """Target pose in crop space, kept within what training has seen."""
    base = portrait if anchor is None else anchor
    rest = base.rotation if anchor is None else _scaled_rotation(base.rotation, 1.0, _CALM_TURN_RAD)
    turn = _scaled_rotation(driver.rotation @ rest.T, gain, _MAX_TURN_RAD)
    ratio = float(np.clip((driver.scale / base.scale) ** gain, *_SCALE_LIMITS))
    shift = gain * (driver.translation - base.translation) * (portrait.scale / base.scale)
    place = portrait.translation + np.clip(shift, -_SHIFT_LIMIT, _SHIFT_LIMIT)
    return HeadPose(
        rotation=(turn @ portrait.rotation).astype(np.float32),
        translation=place.astype(np.float32),
        scale=portrait.scale * ratio,
    )


def mirrored(motion: MotionCode) -> MotionCode:
    """The same face seen in a mirror."""
    flip = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
    return replace(
        motion,
        expression=motion.expression[_OTHER_SIDE],
        shape=motion.shape[face_geometry().mirror] @ flip,
        pose=HeadPose(
            rotation=(flip @ motion.pose.rotation @ flip).astype(np.float32),
            translation=motion.pose.translation * np.array([-1, 1], np.float32),
            scale=motion.pose.scale,
        ),
    )


def _scaled_rotation(rotation: Float, gain: float, limit_rad: float) -> Float:
    vector, _ = cv2.Rodrigues(rotation.astype(np.float64))
    vector = vector * gain
    angle = float(np.linalg.norm(vector))
    if angle > limit_rad:
        vector = vector * (limit_rad / angle)
    return cv2.Rodrigues(vector)[0].astype(np.float32)


def _swapped(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


_OTHER_SIDE = np.array([_NAMES.index(_swapped(n)) for n in _NAMES])
