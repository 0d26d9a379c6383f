"""Motion from the driver's picture: the stages of DPE as published (CVPR 2023, section 3.1, equations 1 to 7)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimicam.engine.models.base import Features, LatentCodes, PictureModel
from mimicam.engine.stages.crop import Cutter
from mimicam.engine.stages.encode import Crop
from mimicam.engine.stages.motion import read_motion
from mimicam.engine.stages.neutral import NeutralFinder
from mimicam.engine.stages.smooth import OneEuro
from mimicam.engine.types import EditSettings, Float, Image, Mode, MotionCode, MotionReference

CUTOFF_HZ = BETA = 4.0
"""Of the codes' One-Euro filter, in units of the codes' own size. At rest it lags by 40 ms. Not tuned on trained
weights: none may be bundled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMotion:
    """A driver's motion, as the encoder reads it off the picture."""

    codes: LatentCodes
    seen: MotionCode | None
    """What the tracker reads of the same face: it tells which moment is calm. None where nobody looked."""
    mirror: bool
    """Whether the picture was turned over before it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDrive:
    """What is added to the portrait's latent, by branch. None: that branch does not run. One of them runs."""

    expression: Float | None
    """``[L]``"""
    pose: Float | None
    """``[L]``"""

    def arrays(self) -> tuple[Float | None, ...]:
        """In the order of `engine.models.base.PictureModel.generate`."""
        return self.expression, self.pose

    def towards(self, other: CodeDrive, share: float) -> CodeDrive:
        """See `engine.stages.lost.Drivable.towards`. The branches are the other's: the mode may have changed."""
        return CodeDrive(
            expression=_between(self.expression, other.expression, share),
            pose=_between(self.pose, other.pose, share),
        )


class PictureEncoder:
    """Cuts the driver's face out and reads its codes; see `engine.stages.reenact.Encode`."""

    def __init__(self, model: PictureModel, *, smooth: bool = True) -> None:
        self._model = model
        self._cut = Cutter(model.size)
        self._mirrored = np.empty((model.size, model.size, 3), np.uint8)
        self._smoother = OneEuro(cutoff_hz=CUTOFF_HZ, beta=BETA) if smooth else None
        self._unit = 1.0
        self._fresh = True
        self._mirror = False

    def reset(self) -> None:
        """See `engine.stages.reenact.Encode.reset`."""
        self._fresh = True
        if self._smoother is not None:
            self._smoother.reset()

    def __call__(self, crop: Crop) -> PictureMotion:
        """See `engine.stages.reenact.Encode`."""
        if crop.mirror != self._mirror:
            self._mirror = crop.mirror
            self.reset()
        picture = self._cut(crop.image, crop.box)
        if crop.mirror:
            picture = cv2.flip(picture, 1, dst=self._mirrored)
        codes = self._model.read_motion(picture)
        return PictureMotion(
            codes=self._smoothed(codes, crop.captured_ns), seen=_seen(crop), mirror=crop.mirror
        )

    def _smoothed(self, codes: LatentCodes, captured_ns: int) -> LatentCodes:
        if self._smoother is None:
            return codes
        both = np.concatenate([codes.expression, codes.pose])
        if self._fresh:
            self._unit, self._fresh = max(float(np.sqrt(np.mean(both * both))), 1e-6), False
        in_units: Float = (both / self._unit).astype(np.float32)
        smooth = self._smoother(in_units, captured_ns) * np.float32(self._unit)
        expression, pose = np.split(smooth, [codes.expression.size])
        return LatentCodes(expression=expression, pose=pose)


class CodesAnchor:
    """The codes of the driver's neutral: the face is chosen by the tracker; see `engine.stages.reenact.Anchor`."""

    def __init__(self) -> None:
        self._moment = NeutralFinder()
        self._neutral: PictureMotion | None = None
        self.jumped = False
        """See `engine.stages.reenact.Anchor`."""

    @property
    def neutral(self) -> PictureMotion | None:
        """The neutral found so far."""
        return self._neutral

    def calibrate(self) -> None:
        """See `engine.stages.reenact.Anchor.calibrate`."""
        self._moment.calibrate()

    def study(self, motion: PictureMotion, captured_ns: int) -> None:
        """See `engine.stages.reenact.Reenactor.study`."""
        self._moment.search_everywhere()
        self(motion, captured_ns)

    def end_study(self) -> None:
        """See `engine.stages.reenact.Reenactor.end_study`."""
        self._moment.fix()

    def __call__(self, motion: PictureMotion, captured_ns: int) -> PictureMotion:
        """See `engine.stages.reenact.Anchor`."""
        if motion.seen is None:
            raise ValueError("motion.seen must be known: the tracker tells which face is calm")
        if self._neutral is not None and self._neutral.mirror != motion.mirror:
            self._moment.reset()  # codes cannot be turned over: the neutral is looked for anew
        before = self._neutral
        neutral = (
            motion if self._moment(motion.seen, captured_ns) is motion.seen or before is None else before
        )
        self.jumped = before is not None and neutral is not before
        self._neutral = neutral
        return neutral


class PictureEdit:
    """Codes to add to one portrait's latent (equations 3 and 4); see `engine.stages.reenact.Edit`.

    The paper adds the driver's codes as they are. A gain scales their distance from the portrait's own, which
    give the portrait back; relative to a neutral, the driver's neutral becomes the portrait's own.
    """

    def __init__(self, own: LatentCodes) -> None:
        self._own = own

    def __call__(
        self, driver: PictureMotion, neutral: PictureMotion | None, settings: EditSettings
    ) -> CodeDrive:
        """See `engine.stages.reenact.Edit`."""
        own, now = self._own, driver.codes
        by_expression, by_pose = relative_branches(settings)
        base = own if neutral is None or not by_expression else neutral.codes
        expression = _applied(own.expression, now.expression, base.expression, settings.expression_gain)
        base = own if neutral is None or not by_pose else neutral.codes
        pose = _applied(own.pose, now.pose, base.pose, settings.pose_gain)
        return _branches(expression, pose, settings.mode)

    def rest(self, settings: EditSettings) -> CodeDrive:
        """See `engine.stages.reenact.Edit.rest`. The portrait's own codes give it back (equation 8's purpose)."""
        return _branches(self._own.expression, self._own.pose, settings.mode)


class JointEdit:
    """The same for one code that holds expression and pose together (DAE-GAN).

    Its gain is the mean of both gains. It is relative only where both references are: a closed mouth counts more than a
    camera that stands aside.
    """

    def __init__(self, own: LatentCodes) -> None:
        self._own = own

    def __call__(
        self, driver: PictureMotion, neutral: PictureMotion | None, settings: EditSettings
    ) -> CodeDrive:
        """See `engine.stages.reenact.Edit`."""
        base = self._own if neutral is None or not all(relative_branches(settings)) else neutral.codes
        gain = (settings.expression_gain + settings.pose_gain) / 2
        code = _applied(self._own.expression, driver.codes.expression, base.expression, gain)
        return CodeDrive(expression=code, pose=None)

    def rest(self, settings: EditSettings) -> CodeDrive:  # noqa: ARG002 - the same in every mode
        """See `engine.stages.reenact.Edit.rest`."""
        return CodeDrive(expression=self._own.expression, pose=None)


class PictureGenerate:
    """Runs the generators over a portrait's cached maps; see `engine.stages.reenact.Generate`."""

    def __init__(self, model: PictureModel, features: Features) -> None:
        self._model, self._features = model, features

    def __call__(self, drive: CodeDrive) -> Image:
        """See `engine.stages.reenact.Generate`."""
        return self._model.generate(self._features, drive.arrays())


def relative_branches(settings: EditSettings) -> tuple[bool, bool]:
    """Whether expression and pose are counted from the driver's neutral."""
    references = (settings.expression_motion, settings.pose_motion)
    expression, pose = (each is MotionReference.RELATIVE for each in references)
    return expression, pose


def uses_neutral(settings: EditSettings, modes: tuple[Mode, ...]) -> bool:
    """Whether an edit counts from the driver's neutral; ``modes``: what the model can be driven in."""
    expression, pose = relative_branches(settings)
    if modes == (Mode.BOTH,):  # one code for both: see `JointEdit`
        return expression and pose
    return (expression and settings.mode is not Mode.POSE) or (pose and settings.mode is not Mode.EXP)


def _seen(crop: Crop) -> MotionCode | None:
    if crop.face is None:
        return None
    return read_motion(crop.box.from_image(crop.face.landmarks), crop.face.blendshapes)


def _applied(own: Float, driver: Float, base: Float, gain: float) -> Float:
    """``own + gain * (driver - base)``; exactly the driver's where that is what it says."""
    if base is own and gain == 1.0:
        return driver
    target: Float = (own + gain * (driver - base)).astype(np.float32)
    return target


def _branches(expression: Float, pose: Float, mode: Mode) -> CodeDrive:
    return CodeDrive(
        expression=None if mode is Mode.POSE else expression, pose=None if mode is Mode.EXP else pose
    )


def _between(a: Float | None, b: Float | None, share: float) -> Float | None:
    if a is None or b is None:
        return b
    mixed: Float = ((1 - share) * a + share * b).astype(np.float32)
    return mixed
