"""Put the driver's motion on the portrait's: modes, gains, absolute or relative motion (DPE, equations 3 to 7).

DPE adds the driver's code to the source's latent. Here both faces are read by the tracker. Absolute expression takes the
portrait's own expression away and puts the driver's in its place. Relative expression adds what the driver does beyond
their neutral to what the portrait does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.face.expression_filter import displacement_of_one_person
from mimicam.engine.face.geometry import face_geometry, scaled_rotation
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.stages.neutral import CALM, Expression, Neutral, read_expression, resting_face
from mimicam.engine.types import EditSettings, Float, HeadPose, Mode, MotionCode, MotionReference

_NAMES = list(BLENDSHAPE_NAMES)
_CALM_TURN_RAD = np.deg2rad(15.0)
_MAX_TURN_RAD = np.deg2rad(50.0)
_SCALE_LIMITS = (0.6, 1.6)
_SHIFT_LIMIT = 0.6
_RESIDUAL_LIMIT = 0.2
"""Head units, about 12 mm: more is a tracker that slipped."""


class MotionEdit:
    """Computes where one portrait's face shall be, and with which expression."""

    def __init__(self, portrait: MotionCode) -> None:
        """``portrait``: the source's own motion."""
        self._portrait = portrait
        self._own = read_expression(portrait)

    def __call__(self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings) -> MotionCode:
        """The target motion.

        Args:
            driver: the driver's motion now.
            neutral: what is known of the driver; None takes their motion as it is, absolutely.
            settings: mode, gains and references.
        """
        if settings.mirror:
            driver, neutral = mirrored(driver), None if neutral is None else mirrored_neutral(neutral)
        target = self._portrait
        if settings.mode is not Mode.POSE:
            target = self._express(driver, neutral, settings)
        if settings.mode is Mode.EXP:
            return target
        relative = neutral is not None and settings.pose_motion is MotionReference.RELATIVE
        rest = neutral.face.pose if neutral is not None and relative else None
        return replace(target, pose=edit_pose(self._portrait.pose, driver.pose, rest, settings.pose_gain))

    def _express(self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings) -> MotionCode:
        gain = settings.expression_gain
        if neutral is not None and settings.expression_motion is MotionReference.RELATIVE:
            return relative_expression(self._portrait, driver, neutral.face, gain)
        now = read_expression(driver) if neutral is None else neutral.expression
        return absolute_expression(self._portrait, self._own, now, gain)


def absolute_expression(portrait: MotionCode, own: Expression, driver: Expression, gain: float) -> MotionCode:
    """The portrait with the driver's expression instead of its own (DPE, equation 3).

    A gain scales the distance from the average resting face: 0 gives the portrait at rest.

    Args:
        portrait: the source's own motion.
        own: its expression, see `engine.stages.neutral.read_expression`.
        driver: the driver's expression, without their identity.
        gain: 0 to 2.
    """
    rest, part = resting_face(), np.float32(gain)
    wanted = rest.expression + part * (driver.blendshapes - rest.expression)
    moved = rest.displacement + part * (driver.displacement - rest.displacement) - own.displacement
    residual = moved - shape_change(wanted - own.blendshapes)
    expression = np.clip(wanted, 0.0, 1.0).astype(np.float32)
    shape = portrait.shape + shape_change(expression - own.blendshapes) + _limited(residual)
    return replace(portrait, expression=expression, shape=shape)


def relative_expression(
    portrait: MotionCode, driver: MotionCode, neutral: MotionCode, gain: float
) -> MotionCode:
    """The portrait's own expression and what the driver does beyond their neutral.

    The driver's neutral becomes the portrait's expression, and the driver's extreme the extreme: a closed eye closes
    whatever the two faces' resting lids are.
    """
    own, now = portrait.expression, driver.expression
    rest = np.minimum(neutral.expression, CALM)
    room = np.where(now > rest, (1 - own) / np.maximum(1 - rest, 0.2), own / np.maximum(rest, 0.2))
    target = own + gain * (now - rest) * np.clip(room, 0.0, 1.5)
    expression = np.clip(target, 0.0, 1.0).astype(np.float32)
    shape = portrait.shape + shape_change(expression - own) + gain * residual_displacement(driver, neutral)
    return replace(portrait, expression=expression, shape=shape)


def residual_displacement(driver: MotionCode, neutral: MotionCode) -> Float:
    """What the landmarks tell of a driver's expression beyond the blendshapes, canonical ``[478, 3]``.

    A blendshape moves the mean face's landmarks, which explains four fifths of what the lips do; see
    `engine.face.expression_filter`.
    """
    read = displacement_of_one_person(driver, neutral)
    return _limited(read - shape_change(driver.expression - neutral.expression))


def edit_pose(portrait: HeadPose, driver: HeadPose, neutral: HeadPose | None, gain: float) -> HeadPose:
    """Target pose in crop space, kept within what training has seen.

    ``neutral``: the driver's, which becomes the portrait's own pose; None makes the driver's pose the target.
    """
    base = portrait if neutral is None else neutral
    rest = base.rotation if neutral is None else scaled_rotation(base.rotation, 1.0, _CALM_TURN_RAD)
    turn = scaled_rotation(driver.rotation @ rest.T, gain, _MAX_TURN_RAD)
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


def mirrored_neutral(neutral: Neutral) -> Neutral:
    """The same driver seen in a mirror."""
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    expression = Expression(
        blendshapes=neutral.expression.blendshapes[_OTHER_SIDE],
        displacement=neutral.expression.displacement[face_geometry().mirror] * flip,
    )
    return Neutral(face=mirrored(neutral.face), expression=expression)


def _limited(displacement: Float) -> Float:
    limited: Float = np.clip(displacement, -_RESIDUAL_LIMIT, _RESIDUAL_LIMIT)
    return limited


def _swapped(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


_OTHER_SIDE = np.array([_NAMES.index(_swapped(n)) for n in _NAMES])
