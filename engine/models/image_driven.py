"""Reenactment by models that read motion from the driver's picture.

See DPE, section 3.1, and DAE-GAN, section 3. Such families share reading and smoothing of codes,
the neutral as codes, and running the generators. They differ in applying codes to a portrait:
`engine.models.dpe.edit` and `engine.models.daegan.edit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.one_euro import OneEuro
from mimicam.engine.models.base import Features, ImageDrivenModel, LatentCodes
from mimicam.engine.models.reenactor import Edit, PortraitStages
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import Crop, Cutter
from mimicam.engine.stages.neutral import NeutralFinder
from mimicam.engine.types import EditSettings, Float, Image, Mode, MotionCode, MotionReference

CUTOFF_HZ = BETA = 4.0
"""Cut-off of the codes' one-euro filter at rest, Hz, and its rise, Hz per unit and second. The unit
is the codes' own magnitude. The lag at rest is 40 ms. Not tuned on trained weights, since none may
be bundled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMotion:
    """Motion of a driver as an image encoder reads it."""

    codes: LatentCodes
    tracked: MotionCode | None
    """The tracker's motion of the same face, which selects the neutral. None if the tracker did not
    run."""
    mirror: bool
    """Whether the picture was mirrored before encoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeNeutral:
    """Codes of the driver's neutral after a frame."""

    codes: LatentCodes
    mirror: bool
    """Whether they were read from a mirrored picture."""
    is_this_frame: bool
    """Whether this frame became the neutral."""
    jumped: bool
    """Whether this frame's neutral replaced another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCodes:
    """Codes to add to the portrait's latent, at least one. None: that branch does not run."""

    expression: Float | None
    """``[L]``"""
    pose: Float | None
    """``[L]``"""

    def towards(self, other: BranchCodes, share: float) -> BranchCodes:
        """See `engine.stages.lost.Target.towards`.

        The branches are those of ``other``, since the mode may have changed.
        """
        return BranchCodes(
            expression=_between(self.expression, other.expression, share),
            pose=_between(self.pose, other.pose, share),
        )


class ImageEncoder:
    """Crops the driver's face and encodes its motion; see `engine.models.reenactor.Encode`."""

    def __init__(self, model: ImageDrivenModel, *, smooth: bool = True) -> None:
        self._model = model
        self._cut = Cutter(model.size)
        self._mirrored = np.empty((model.size, model.size, 3), np.uint8)
        self._smoother = OneEuro(cutoff_hz=CUTOFF_HZ, beta=BETA) if smooth else None
        self._unit = 1.0
        self._fresh = True
        self._mirror = False

    def reset(self) -> None:
        """See `engine.models.reenactor.Encode.reset`."""
        self._fresh = True
        if self._smoother is not None:
            self._smoother.reset()

    def __call__(self, crop: Crop) -> ImageMotion:
        """See `engine.models.reenactor.Encode`."""
        if crop.mirror != self._mirror:
            # Codes of the mirrored picture are unrelated to earlier ones, so the filter restarts.
            self._mirror = crop.mirror
            self.reset()
        picture = self._cut(crop.image, crop.box)
        if crop.mirror:
            # The picture is mirrored, since codes cannot be.
            picture = cv2.flip(picture, 1, dst=self._mirrored)
        codes = self._smoothed(self._model.read_motion(picture), crop.captured_ns)
        return ImageMotion(codes=codes, tracked=tracked_motion(crop), mirror=crop.mirror)

    def _smoothed(self, codes: LatentCodes, captured_ns: int) -> LatentCodes:
        if self._smoother is None:
            return codes
        # One filter for both branches, so that they have one unit and one lag.
        both = np.concatenate([codes.expression, codes.pose])
        if self._fresh:
            # Speed is measured in units of the codes' own magnitude, which differs between weights.
            self._unit, self._fresh = max(float(np.sqrt(np.mean(both * both))), 1e-6), False
        in_units: Float = (both / self._unit).astype(np.float32)
        smooth = self._smoother(in_units, captured_ns) * np.float32(self._unit)
        expression, pose = np.split(smooth, [codes.expression.size])
        return LatentCodes(expression=expression, pose=pose)


class LatentNeutral:
    """Keeps the codes of the driver's neutral.

    The tracker's motion selects the frame (`engine.stages.neutral.NeutralFinder`).
    """

    def __init__(self) -> None:
        self._finder = NeutralFinder()
        self._codes: LatentCodes | None = None
        self._mirror = False

    @property
    def codes(self) -> LatentCodes | None:
        """Codes of the neutral found so far, if any."""
        return self._codes

    def calibrate(self) -> None:
        """See `engine.models.reenactor.NeutralEstimator.calibrate`."""
        self._finder.calibrate()

    def restart(self) -> None:
        """See `engine.models.reenactor.NeutralEstimator.restart`."""
        self._finder = NeutralFinder()

    def study(self, motion: ImageMotion, captured_ns: int) -> None:
        """See `engine.models.reenactor.NeutralEstimator.study`."""
        self._finder.search_everywhere()
        self(motion, captured_ns)

    def end_study(self) -> None:
        """See `engine.models.reenactor.NeutralEstimator.end_study`."""
        self._finder.fix()

    def is_next(self, tracked: MotionCode | None, mirror: bool, captured_ns: int) -> bool:
        """Consider a frame; return whether its face is the neutral from now on.

        Its codes are not needed: they may exist on a device only.

        Raises:
            ValueError: ``tracked`` is None.
        """
        if tracked is None:
            raise ValueError("tracked must be known: the tracker decides which face is calm")
        if self._mirror != mirror:
            self._finder.reset()  # codes cannot be mirrored: search again
        self._mirror = mirror
        return self._finder(tracked, captured_ns)

    def __call__(self, motion: ImageMotion, captured_ns: int) -> CodeNeutral:
        """See `engine.models.reenactor.NeutralEstimator`."""
        chosen, before = self.is_next(motion.tracked, motion.mirror, captured_ns), self._codes
        # Without a neutral so far, this frame's codes are used.
        if chosen or before is None:
            self._codes = motion.codes
        assert self._codes is not None
        return CodeNeutral(
            codes=self._codes,
            mirror=motion.mirror,
            is_this_frame=chosen or before is None,
            jumped=chosen and before is not None,
        )


class LatentGenerate:
    """Runs the generators over a portrait's cached maps; see `engine.models.reenactor.Generate`."""

    def __init__(self, model: ImageDrivenModel, features: Features) -> None:
        self._model, self._features = model, features

    def __call__(self, target: BranchCodes) -> Image:
        """See `engine.models.reenactor.Generate`."""
        return self._model.generate(self._features, expression=target.expression, pose=target.pose)


MakeEdit = Callable[[LatentCodes], Edit[ImageMotion, CodeNeutral, BranchCodes]]
"""Makes the edit of a portrait from its own codes."""
MakeComposite = Callable[[Composite, int], Callable[[Image], Image]]
"""Makes the composite of a portrait from its surroundings and the side of generated pictures."""


def _around(around: Composite, _face_px: int) -> Callable[[Image], Image]:
    return around


class ImageDrivenReenactor:
    """Computes codes on the host; see `engine.models.reenactor.Reenactor`."""

    def __init__(
        self,
        model: ImageDrivenModel,
        edit: MakeEdit,
        *,
        smooth: bool,
        neutral: LatentNeutral | None = None,
        composite: MakeComposite = _around,
    ) -> None:
        """Set up for one session.

        Args:
            model: encoder and generator.
            edit: makes the edit of a portrait.
            smooth: filter the codes.
            neutral: that of the same session on another backend; None starts a new one.
            composite: makes the composite of a portrait.
        """
        self._model, self._edit, self._composite = model, edit, composite
        self.encode = ImageEncoder(model, smooth=smooth)
        self.neutral = neutral or LatentNeutral()

    def needs_neutral(self, settings: EditSettings) -> bool:
        """See `engine.models.reenactor.Reenactor.needs_neutral`."""
        return uses_neutral(settings, self._model.modes)

    def for_portrait(
        self,
        motion: MotionCode | None,  # noqa: ARG002 - the codes are in the features
        features: Features,
        around: Composite,
        *,
        response: Float | None = None,  # noqa: ARG002 - codes move the whole expression at once
    ) -> PortraitStages[ImageMotion, CodeNeutral, BranchCodes]:
        """See `engine.models.reenactor.Reenactor.for_portrait`."""
        edit = self._edit(self._model.own_codes(features))
        composite = self._composite(around, self._model.size)
        return PortraitStages(edit=edit, generate=LatentGenerate(self._model, features), composite=composite)


def tracked_motion(crop: Crop) -> MotionCode | None:
    """Return the tracker's motion of a crop's face; None if the tracker did not run."""
    if crop.face is None:
        return None
    return read_motion(crop.box.from_image(crop.face.landmarks), crop.face.blendshapes)


def relative_branches(settings: EditSettings) -> tuple[bool, bool]:
    """Return for expression and for pose whether they count from the driver's neutral."""
    references = (settings.expression_motion, settings.pose_motion)
    expression, pose = (each is MotionReference.RELATIVE for each in references)
    return expression, pose


def uses_neutral(settings: EditSettings, modes: tuple[Mode, ...]) -> bool:
    """Whether an edit uses the driver's neutral; ``modes``: those that the model supports."""
    expression, pose = relative_branches(settings)
    if modes == (Mode.BOTH,):  # one code moves both: see `engine.models.daegan.edit`
        return expression and pose
    # A branch that is not drawn needs no neutral.
    return (expression and settings.mode is not Mode.POSE) or (pose and settings.mode is not Mode.EXP)


def scaled_code(own: Float, driver: Float, base: Float | None, gain: float) -> Float:
    """Return ``own + gain * (driver - base)``, float32 ``[L]``.

    Args:
        own: the portrait's code.
        driver: the driver's code.
        base: the neutral's code; None is ``own``, and then a gain of 1 returns ``driver`` bit for
            bit.
        gain: 0 leaves the portrait as it is.
    """
    # As published: ``own + (driver - own)`` would differ by rounding.
    if base is None and gain == 1.0:
        return driver
    start = own if base is None else base
    target: Float = (own + gain * (driver - start)).astype(np.float32)
    return target


def _between(a: Float | None, b: Float | None, share: float) -> Float | None:
    if a is None or b is None:
        return b
    mixed: Float = ((1 - share) * a + share * b).astype(np.float32)
    return mixed
