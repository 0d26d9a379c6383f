"""The reenactor of a DPE whose codes never leave the GPU (`engine.models.frame_graph`).

Makes the same decisions as its reference, `engine.models.image_driven` and
`engine.models.dpe.edit`. It sends them to the GPU as a control block instead of computing codes on
the host: elapsed time, whether this face is the neutral, where easing starts. One graph then draws
a frame from crop to paste.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import cv2

from mimicam.engine.models.base import CodedModel, Features
from mimicam.engine.models.frame_graph import IDENTITY, CodeUpdate, FrameGraph, FrameRequest
from mimicam.engine.models.image_driven import (
    BETA,
    CUTOFF_HZ,
    LatentNeutral,
    relative_branches,
    tracked_motion,
    uses_neutral,
)
from mimicam.engine.models.reenactor import PortraitStages
from mimicam.engine.stages.composite import Composite, CopyResult
from mimicam.engine.stages.crop import Crop, Cutter, image_from_crop
from mimicam.engine.types import EditSettings, Float, Image, Mode, MotionCode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceMotion:
    """A driver's frame whose codes the GPU has yet to read."""

    image: Image
    """The whole frame, or the crop if the frame graph takes crops. uint8 ``[H, W, 3]``."""
    image_from_crop: Float
    """``[2, 3]``"""
    tracked: MotionCode | None
    """See `engine.models.image_driven.ImageMotion.tracked`."""
    mirror: bool
    fresh: bool
    """Whether smoothing begins with this frame."""
    seconds: float
    """Time since the frame before; 0 if time stands still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNeutral:
    """The host's record of a neutral whose codes are on the GPU."""

    is_this_frame: bool
    """Whether it is taken from this frame."""
    jumped: bool
    """Whether this frame's neutral replaced another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendKey:
    """Names the codes that a target comes to on the GPU."""

    number: int
    """Unique in a session."""
    mode: Mode
    """Mode, which selects the branches that have codes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceTarget:
    """A frame to draw. The GPU computes its codes then, and keeps them under ``key``."""

    key: BlendKey
    motion: DeviceMotion | None
    """None: the portrait's own codes."""
    edit: CodeUpdate
    past: BlendKey | None = None
    """Codes to ease from, which were shown before."""
    share: float = 1.0
    """Position between ``past`` (0) and this target (1)."""

    def towards(self, other: DeviceTarget, share: float) -> DeviceTarget:
        """See `engine.stages.lost.Target.towards`."""
        return replace(other, past=self.key, share=share)


class DeviceEncoder:
    """Computes where the face is and how much time has passed; see
    `engine.models.reenactor.Encode`."""

    def __init__(self, size: int, *, crops: bool, smooth: bool = True) -> None:
        """``size``: side of the network's input; ``crops``: cut on the host, for a frame graph that
        takes crops."""
        self._size, self._smooth = size, smooth
        self._cut = Cutter(size) if crops else None
        self._fresh, self._mirror, self._last_ns = True, False, 0

    def reset(self) -> None:
        """See `engine.models.reenactor.Encode.reset`."""
        self._fresh = True

    def __call__(self, crop: Crop) -> DeviceMotion:
        """See `engine.models.reenactor.Encode`."""
        if crop.mirror != self._mirror:
            self._mirror = crop.mirror
            self.reset()
        fresh = self._fresh or not self._smooth
        # Never negative: a source that starts again must not run the filter backwards.
        seconds = 0.0 if fresh else max((crop.captured_ns - self._last_ns) * 1e-9, 0.0)
        if fresh or seconds > 0:
            self._last_ns = crop.captured_ns
        self._fresh = False
        image, matrix = self._picture(crop)
        return DeviceMotion(
            image=image,
            image_from_crop=matrix,
            tracked=tracked_motion(crop),
            mirror=crop.mirror,
            fresh=fresh,
            seconds=seconds,
        )

    def _picture(self, crop: Crop) -> tuple[Image, Float]:
        if self._cut is None:
            return crop.image, image_from_crop(crop.box, self._size, mirror=crop.mirror)
        picture = self._cut(crop.image, crop.box)
        return (cv2.flip(picture, 1) if crop.mirror else picture), IDENTITY


class DeviceNeutralEstimator:
    """Chooses the frame of the neutral; see `engine.models.reenactor.NeutralEstimator`. The GPU
    keeps its codes."""

    def __init__(self, moment: LatentNeutral) -> None:
        """``moment``: with the neutral found so far."""
        self._moment, self._found = moment, moment.codes is not None

    def __call__(self, motion: DeviceMotion, captured_ns: int) -> DeviceNeutral:
        """See `engine.models.reenactor.NeutralEstimator`."""
        # Without any neutral so far, this frame serves as one; see `LatentNeutral`.
        chosen = self._moment.is_next(motion.tracked, motion.mirror, captured_ns)
        known = DeviceNeutral(is_this_frame=chosen or not self._found, jumped=chosen and self._found)
        self._found = True
        return known

    def calibrate(self) -> None:
        """See `engine.models.reenactor.NeutralEstimator.calibrate`."""
        self._moment.calibrate()

    def restart(self) -> None:
        """See `engine.models.reenactor.NeutralEstimator.restart`."""
        self._moment.restart()

    def study(self, motion: DeviceMotion, captured_ns: int) -> None:
        """Do nothing: codes are read when a frame is drawn, and the neutral is found then."""

    def end_study(self) -> None:
        """Do nothing; see `study`."""


class DeviceEdit:
    """See `engine.models.reenactor.Edit`. The portrait enters with the generator."""

    def __init__(self, numbers: Iterator[int]) -> None:
        """``numbers``: unique in the session, for `BlendKey`."""
        self._numbers = numbers

    def __call__(
        self, driver: DeviceMotion, neutral: DeviceNeutral | None, settings: EditSettings
    ) -> DeviceTarget:
        """See `engine.models.reenactor.Edit`."""
        by_expression, by_pose = relative_branches(settings)
        known = neutral is not None
        edit = CodeUpdate(
            fresh=driver.fresh, seconds=driver.seconds,
            take_neutral=neutral is not None and neutral.is_this_frame,
            expression_relative=known and by_expression, pose_relative=known and by_pose,
            settings=settings, cutoff_hz=CUTOFF_HZ, beta=BETA,
        )  # fmt: skip
        return DeviceTarget(key=self._next_key(settings), motion=driver, edit=edit)

    def rest(self, settings: EditSettings) -> DeviceTarget:
        """See `engine.models.reenactor.Edit.rest`."""
        return DeviceTarget(key=self._next_key(settings), motion=None, edit=CodeUpdate(follow=False))

    def _next_key(self, settings: EditSettings) -> BlendKey:
        return BlendKey(number=next(self._numbers), mode=settings.mode)


class BlendHistory:
    """Mirrors which codes the GPU remembers: those shown last, and those that easing starts
    from."""

    def __init__(self) -> None:
        self._last: BlendKey | None = None
        self._held: BlendKey | None = None

    def next(self, target: DeviceTarget) -> FrameRequest:
        """Return the control block that shows this target.

        Raises:
            ValueError: it eases from codes that the GPU no longer has.
        """
        # A target that was shown before is eased from itself with a share of 0: its codes are not
        # computed again.
        again = target.key in (self._last, self._held)
        past = target.key if again else target.past
        keep = past is not None and past != self._held
        if keep and past != self._last:
            raise ValueError("target.past must be what was shown last, or what was eased from before")
        # The same update that the kernel makes, so that both agree on what can be eased from.
        self._held, self._last = past if keep else self._held, target.key
        motion = None if again else target.motion
        edit = replace(
            target.edit,
            follow=motion is not None,
            keep=keep,
            expression_share=0.0 if again else _share(target, past, without=Mode.POSE),
            pose_share=0.0 if again else _share(target, past, without=Mode.EXP),
        )
        mode = target.key.mode
        if motion is None:
            return FrameRequest(image=None, image_from_crop=IDENTITY, mode=mode, edit=edit)
        return FrameRequest(image=motion.image, image_from_crop=motion.image_from_crop, mode=mode, edit=edit)


class DeviceGenerate:
    """Draws one portrait's finished frames; see `engine.models.reenactor.Generate`."""

    def __init__(
        self, graph: FrameGraph, history: BlendHistory, features: Features, around: Composite, face_px: int
    ) -> None:
        """``history``: shared by all portraits of a session; ``face_px``: side of the generated
        face."""
        self._graph, self._history, self._features = graph, history, features
        self._canvas = around.on_device(face_px)

    def __call__(self, target: DeviceTarget) -> Image:
        """See `engine.models.reenactor.Generate`."""
        # In each frame: several portraits share the graph, and entering again costs two
        # comparisons.
        self._graph.enter(self._features, self._canvas)
        return self._graph(self._history.next(target))


class DeviceReenactor:
    """Codes on the GPU; see `engine.models.reenactor.Reenactor`."""

    def __init__(
        self,
        model: CodedModel,
        graph: FrameGraph,
        *,
        smooth: bool,
        neutral: LatentNeutral | None = None,
    ) -> None:
        """``neutral``: that of a session that goes on with this backend; None starts a new one."""
        self._model, self._graph, self._history = model, graph, BlendHistory()
        self._numbers = count()
        self.encode = DeviceEncoder(model.size, crops=graph.wants_crop, smooth=smooth)
        found = neutral or LatentNeutral()
        if found.codes is not None:
            graph.set_neutral(found.codes)
        self.neutral = DeviceNeutralEstimator(found)

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
    ) -> PortraitStages[DeviceMotion, DeviceNeutral, DeviceTarget]:
        """See `engine.models.reenactor.Reenactor.for_portrait`."""
        self._model.own_codes(features)  # refuses a portrait of another model
        generate = DeviceGenerate(self._graph, self._history, features, around, self._model.size)
        composite = around if self._graph.wants_crop else CopyResult()
        return PortraitStages(edit=DeviceEdit(self._numbers), generate=generate, composite=composite)


def _share(target: DeviceTarget, past: BlendKey | None, *, without: Mode) -> float:
    """Blend weight of a branch: 1 (no easing) if ``past`` was in mode ``without`` and so lacks that
    branch."""
    return 1.0 if past is None or past.mode is without else target.share
