"""Apply the driver's motion to the portrait's: modes, gains, references (DPE, equations 3 to 7).

DPE adds the driver's code to the source's latent. Here the tracker reads both faces. Absolute
expression replaces the portrait's expression with the driver's. Relative expression adds the
driver's change from their neutral to the portrait's expression.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.face.expression_filter import displacement_of_one_person
from mimicam.engine.face.geometry import face_geometry, scaled_rotation
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.regions import expression_gains
from mimicam.engine.models.compact.lips import lip_gaps, with_lips_closed
from mimicam.engine.stages.neutral import CALM, Expression, Neutral, read_expression, resting_face
from mimicam.engine.types import (
    BLENDSHAPES,
    EditSettings,
    Float,
    HeadPose,
    Mode,
    MotionCode,
    MotionReference,
    Response,
)

if TYPE_CHECKING:
    from mimicam.engine.models.compact.landmark_reading import LandmarkReading

Gains = tuple[Float, Float]
"""Gain of each blendshape ``[52]`` and of each landmark ``[478, 1]``, see `expression_gains`."""
_NAMES = list(BLENDSHAPE_NAMES)
AS_ASKED = np.ones(BLENDSHAPES, np.float32)
"""Response of a portrait that shows each blendshape as strongly as it is asked for."""
_CALM_TURN_RAD = np.deg2rad(15.0)
"""Limit of the neutral's own rotation where relative pose counts from it."""
_MAX_TURN_RAD = np.deg2rad(50.0)
"""Limit of the rotation between reference and driver, after the gain."""
_SCALE_LIMITS = (0.6, 1.6)
"""Limits of the head's scale relative to the reference, after the gain."""
_SHIFT_LIMIT = 0.6
"""Crop units. Limit of the head's displacement."""
_FARTHEST = 1.5
"""Largest value of a blendshape that landmarks are moved for."""
_LIPS = [13, 14]
_RESIDUAL_LIMIT = 0.2
"""Head units, about 12 mm. A larger residual means that the tracker slipped."""


class MotionEdit:
    """Computes the pose and expression of one portrait's targets."""

    def __init__(self, portrait: MotionCode, response: Float | None = None) -> None:
        """Set up for a portrait with this motion of its own.

        ``response``: see `engine.models.compact.response`; None asks for the driver's amplitude.
        """
        self._portrait = portrait
        self._own, self._own_gaps = read_expression(portrait), lip_gaps(portrait.shape)
        self._response = AS_ASKED if response is None else response
        # Without a response, the tracker does not read this face as it reads others.
        measured = bool((self._response != AS_ASKED).any())
        self._reading = landmark_reading(portrait, self._own) if measured else None

    def __call__(self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings) -> MotionCode:
        """Return the target motion.

        Args:
            driver: the driver's motion now.
            neutral: the driver's neutral and expression; None makes all motion absolute.
            settings: mode, gains and references.
        """
        if settings.mirror:
            # Both: a neutral of the other side would turn the head the wrong way.
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
        gains = expression_gains(settings)
        response, reading = AS_ASKED, None
        if settings.response is Response.MEASURED:
            response, reading = self._response, self._reading
        if neutral is not None and settings.expression_motion is MotionReference.RELATIVE:
            return relative_expression(self._portrait, driver, neutral.face, gains, response)
        now = read_expression(driver) if neutral is None else neutral.expression
        target = absolute_expression(self._portrait, self._own, now, gains, response, reading)
        # The larger gain: a jaw may open the mouth where the lips are held.
        wanted = gains[1][_LIPS].max() * lip_gaps(driver.shape)
        return replace(target, shape=with_lips_closed(target.shape, wanted, self._own_gaps))


def landmark_reading(portrait: MotionCode, own: Expression) -> LandmarkReading:
    """Return what corrects the portrait's targets; ``own``: as in `absolute_expression`."""
    # Here, not at the top: training uses this module on machines without OpenVINO.
    from mimicam.engine.models.compact.landmark_reading import LandmarkReading

    rest = resting_face()
    calm = Expression(blendshapes=rest.expression, displacement=rest.displacement)
    return LandmarkReading(absolute_expression(portrait, own, calm, expression_gains(EditSettings())))


def absolute_expression(
    portrait: MotionCode,
    own: Expression,
    driver: Expression,
    gains: Gains,
    response: Float = AS_ASKED,
    reading: LandmarkReading | None = None,
) -> MotionCode:
    """Replace the portrait's expression with the driver's (DPE, equation 3).

    A gain scales the distance from the average resting face: 0 gives the portrait at rest. The
    response scales it too, in blendshapes and landmarks alike: the generator follows the landmarks.

    Args:
        portrait: the source's own motion.
        own: its expression, see `engine.stages.neutral.read_expression`.
        driver: the driver's expression, without their identity.
        gains: of each blendshape and landmark.
        response: factor for each blendshape, ``[52]``.
        reading: of the portrait; None takes the landmarks' motion on the mean face.
    """
    rest, (shapes, landmarks) = resting_face(), gains
    wanted = rest.expression + shapes * (driver.blendshapes - rest.expression)
    residual = landmarks * _unexplained(driver) - _unexplained(own)
    within = np.clip(wanted, 0.0, 1.0)
    more = within + _correction(within, response) * (within - rest.expression)
    # Landmarks may go beyond a blendshape's range where the portrait needs more to show its end.
    asked: Float = np.clip(more, 0.0, _FARTHEST).astype(np.float32)
    moved_by: Float = asked - own.blendshapes
    shape = portrait.shape + shape_change(moved_by) + _limited(residual)
    if reading is not None:
        shape = reading.corrected(shape, asked)
    return replace(portrait, expression=np.minimum(asked, np.float32(1)), shape=shape)


def _unexplained(expression: Expression) -> Float:
    """Return the landmark motion that blendshapes do not explain on the mean face, ``[478, 3]``."""
    rest = resting_face()
    by_shapes = shape_change(expression.blendshapes - rest.expression)
    beyond: Float = expression.displacement - rest.displacement - by_shapes
    return beyond


def relative_expression(
    portrait: MotionCode, driver: MotionCode, neutral: MotionCode, gains: Gains, response: Float = AS_ASKED
) -> MotionCode:
    """Add the driver's change from their neutral to the portrait's expression.

    The driver's neutral maps to the portrait's expression, and the driver's extremes to the
    extremes. So a closed eye closes, whatever the two faces' resting lids are.
    """
    own, now, (shapes, landmarks) = portrait.expression, driver.expression, gains
    # A neutral taken from a smiling face must not hide later smiles.
    rest = np.minimum(neutral.expression, CALM)
    # Range left to 1 or to 0 on the portrait, relative to the driver's.
    room = np.where(now > rest, (1 - own) / np.maximum(1 - rest, 0.2), own / np.maximum(rest, 0.2))
    change = (1 + _correction(now, response)) * (now - rest)
    target = own + shapes * change * np.clip(room, 0.0, 1.5)
    expression = np.clip(target, 0.0, 1.0).astype(np.float32)
    residual = landmarks * residual_displacement(driver, neutral)
    shape = portrait.shape + shape_change(expression - own) + residual
    return replace(portrait, expression=expression, shape=shape)


def residual_displacement(driver: MotionCode, neutral: MotionCode) -> Float:
    """Return the landmark displacement beyond the blendshapes, canonical ``[478, 3]``.

    Blendshapes on the mean face explain four fifths of lip motion; see
    `engine.face.expression_filter`.
    """
    read = displacement_of_one_person(driver, neutral)
    return _limited(read - shape_change(driver.expression - neutral.expression))


def edit_pose(portrait: HeadPose, driver: HeadPose, neutral: HeadPose | None, gain: float) -> HeadPose:
    """Return the target pose in crop space, limited to the range of the training clips.

    ``neutral``: the driver's, which becomes the portrait's own pose; None makes the driver's pose
    the target.
    """
    base = portrait if neutral is None else neutral
    # A neutral that is turned further than the limit counts only up to it.
    rest = base.rotation if neutral is None else scaled_rotation(base.rotation, 1.0, _CALM_TURN_RAD)
    turn = scaled_rotation(driver.rotation @ rest.T, gain, _MAX_TURN_RAD)
    # A power, so that a gain acts alike on coming nearer and on moving away.
    ratio = float(np.clip((driver.scale / base.scale) ** gain, *_SCALE_LIMITS))
    shift = gain * (driver.translation - base.translation) * (portrait.scale / base.scale)
    place = portrait.translation + np.clip(shift, -_SHIFT_LIMIT, _SHIFT_LIMIT)
    return HeadPose(
        rotation=(turn @ portrait.rotation).astype(np.float32),
        translation=place.astype(np.float32),
        scale=portrait.scale * ratio,
    )


def mirrored(motion: MotionCode) -> MotionCode:
    """Return the same face mirrored."""
    # Reflect x, and exchange landmarks and blendshapes of both sides.
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
    """Return the same driver mirrored."""
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    expression = Expression(
        blendshapes=neutral.expression.blendshapes[_OTHER_SIDE],
        displacement=neutral.expression.displacement[face_geometry().mirror] * flip,
    )
    return Neutral(face=mirrored(neutral.face), expression=expression)


def _correction(wanted: Float, response: Float) -> Float:
    """Return the share of a blendshape's distance from rest to add.

    A response below 1 softens strong expressions only: weak ones would no longer arrive.
    """
    correction: Float = (response - 1) * np.where(response < 1, wanted, np.float32(1))
    return correction


def _limited(displacement: Float) -> Float:
    limited: Float = np.clip(displacement, -_RESIDUAL_LIMIT, _RESIDUAL_LIMIT)
    return limited


def _swapped(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


_OTHER_SIDE = np.array([_NAMES.index(_swapped(n)) for n in _NAMES])
