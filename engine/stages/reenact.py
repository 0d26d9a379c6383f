"""The two ways to reenact a face behind one set of stages: a crop to a motion, a motion to a drive, a drive to a picture.

Tracker-driven (the compact preset): motion is what the tracker reads. Picture-driven (DPE and DAE-GAN): motion is
what the encoder reads off the driver's picture; see `engine.stages.picture`. Where networks run on a GPU the picture's
codes stay there, and the face is pasted there: see `engine.stages.on_device`. The pipeline hands a motion and a drive on
without looking inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mimicam.engine.models.base import Features, LiveModel, PictureModel, TrackerModel
from mimicam.engine.models.frame_graph import CanvasModel, FrameDrawer, FrameModel
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.edit import MotionEdit
from mimicam.engine.stages.encode import Crop, TrackerEncoder
from mimicam.engine.stages.generate import CompactGenerate
from mimicam.engine.stages.layered import LayeredComposite
from mimicam.engine.stages.lost import Drivable
from mimicam.engine.stages.motion import Departure, Drive, read_mouth_colours
from mimicam.engine.stages.mouth_light import WHITE_LIGHT, MouthColours
from mimicam.engine.stages.neutral import DriverNeutral, Neutral
from mimicam.engine.stages.on_device import (
    CanvasGenerate,
    CopyResult,
    DeviceDrive,
    DeviceEdit,
    DeviceEncoder,
    DeviceGenerate,
    DeviceMotion,
    Shown,
)
from mimicam.engine.stages.picture import (
    CodeDrive,
    CodesAnchor,
    JointEdit,
    PictureEdit,
    PictureEncoder,
    PictureGenerate,
    PictureMotion,
    uses_neutral,
)
from mimicam.engine.types import EditSettings, Image, Mode, MotionCode

M = TypeVar("M")
"""A driver's motion."""
MOut = TypeVar("MOut", covariant=True)
MIn = TypeVar("MIn", contravariant=True)
N = TypeVar("N")
"""What is known of a driver's neutral."""
NOut = TypeVar("NOut", covariant=True)
NIn = TypeVar("NIn", contravariant=True)
D = TypeVar("D", bound=Drivable)
"""What a generator is told."""
DOut = TypeVar("DOut", bound=Drivable, covariant=True)
DIn = TypeVar("DIn", bound=Drivable, contravariant=True)
_DRIVES = 6
"""At once: at rest, last shown, eased from, being made or mixed (two), and still with the generator."""


class Encode(Protocol[MOut]):
    """Reads the driver."""

    def __call__(self, crop: Crop) -> MOut:
        """The motion of the face in the crop."""

    def reset(self) -> None:
        """Forget the past: another face, or a gap."""


class Anchor(Protocol[MIn, NOut]):
    """Finds the driver's neutral."""

    jumped: bool
    """Whether the neutral of this frame is another one than that of the frame before, and not on the way to it."""

    def __call__(self, motion: MIn, captured_ns: int) -> NOut:
        """The neutral, after seeing this frame."""

    def calibrate(self) -> None:
        """Take the next face."""


class Edit(Protocol[MIn, NIn, DOut]):
    """Puts the driver's motion on one portrait's."""

    def __call__(self, driver: MIn, neutral: NIn | None, settings: EditSettings) -> DOut:
        """What the portrait shall do; without a neutral, motion is absolute."""

    def rest(self, settings: EditSettings) -> DOut:
        """The portrait as it is by itself."""


class Generate(Protocol[DIn]):
    """Draws one portrait."""

    def __call__(self, drive: DIn) -> Any:
        """What `Role.composite` takes: a picture, uint8 ``[S, S, 3]``, or its layers; buffers that the next call may use
        again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role(Generic[M, N, D]):
    """One portrait's share of the stages."""

    edit: Edit[M, N, D]
    generate: Generate[D]
    composite: Callable[[Any], Image]
    """From what ``generate`` gives to the result, uint8 ``[height, width, 3]``, which is the caller's to keep."""


class Reenactor(Protocol[M, N, D]):
    """The stages that go together. Use ``Reenactor[Any, Any, Any]`` where no motion is looked into."""

    encode: Encode[M]
    anchor: Anchor[M, N]
    modes: tuple[Mode, ...]
    """What the model can be driven in."""

    def needs_neutral(self, settings: EditSettings) -> bool:
        """Whether an edit with these settings uses the neutral, and so the tracker, even where the crop is known."""

    def study(self, motion: M, captured_ns: int) -> None:
        """Learn the driver's neutral from a frame of a recording, before any frame is drawn."""

    def end_study(self) -> None:
        """Draw from now on, with the neutral that was learnt."""

    def role(self, motion: MotionCode | None, features: Features, around: Composite) -> Role[M, N, D]:
        """The stages of one portrait, with ``around`` around its face.

        Raises:
            EngineError: it was not enrolled with this model.
        """

    def successor(self) -> Reenactor[Any, Any, Any] | None:
        """Who goes on from the next frame, since the model now runs elsewhere; None: nothing has changed."""


class TrackerReenactor:
    """The compact preset; see `Reenactor`."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)

    def __init__(self, model: TrackerModel, *, smooth: bool) -> None:
        self._model = model
        self.encode: Encode[MotionCode] = TrackerEncoder(smooth=smooth)
        self._driver = DriverNeutral()
        self.anchor: Anchor[MotionCode, Neutral] = self._driver
        self._drawer = model.open_canvas() if isinstance(model, CanvasModel) else None

    def needs_neutral(self, settings: EditSettings) -> bool:  # noqa: ARG002 - expression needs it in any case
        """See `Reenactor.needs_neutral`."""
        return True

    def study(self, motion: MotionCode, captured_ns: int) -> None:
        """See `Reenactor.study`."""
        self._driver.study(motion, captured_ns)

    def end_study(self) -> None:
        """See `Reenactor.end_study`."""
        self._driver.end_study()

    def successor(self) -> Reenactor[Any, Any, Any] | None:
        """See `Reenactor.successor`: itself, with a drawer, once there is one."""
        if self._drawer is None and isinstance(self._model, CanvasModel):
            self._drawer = self._model.open_canvas()
            return None if self._drawer is None else self
        return None

    def role(
        self, motion: MotionCode | None, features: Features, around: Composite
    ) -> Role[MotionCode, Neutral, Drive]:
        """See `Reenactor.role`."""
        if motion is None:
            raise ValueError("motion must be known: the tracker's motion is what is edited")
        colours = read_mouth_colours(motion, around.crop(self._model.size))
        edit = TrackerEdit(motion, map_px=self._model.size // 2, colours=colours)
        if self._drawer is None:
            size = self._model.size
            layered = LayeredComposite(around.scene(size), size)
            return Role(edit=edit, generate=CompactGenerate(self._model, features), composite=layered)
        generate = CanvasGenerate(self._drawer, features, around, self._model.size)
        return Role(edit=edit, generate=generate, composite=CopyResult())


class TrackerEdit:
    """`engine.stages.edit.MotionEdit` and the drive that it comes to; see `Edit`."""

    def __init__(self, portrait: MotionCode, *, map_px: int, colours: MouthColours = WHITE_LIGHT) -> None:
        """``map_px``, ``colours``: see `engine.stages.motion.Departure`."""
        self._edit = MotionEdit(portrait)
        self._drive_to = Departure(portrait, map_px=map_px, buffers=_DRIVES, colours=colours)
        self._rest = self._drive_to(portrait)

    def __call__(self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings) -> Drive:
        """See `Edit`."""
        return self._drive_to(self._edit(driver, neutral, settings))

    def rest(self, settings: EditSettings) -> Drive:  # noqa: ARG002 - the same in every mode
        """See `Edit.rest`."""
        return self._rest


class PictureReenactor:
    """DPE and DAE-GAN as published; see `Reenactor`."""

    def __init__(self, model: PictureModel, *, smooth: bool) -> None:
        self._model, self._smooth = model, smooth
        self.modes = model.modes
        self.encode: Encode[PictureMotion] = PictureEncoder(model, smooth=smooth)
        self._codes_anchor = CodesAnchor()
        self.anchor: Anchor[PictureMotion, PictureMotion] = self._codes_anchor

    def needs_neutral(self, settings: EditSettings) -> bool:
        """See `Reenactor.needs_neutral`."""
        return uses_neutral(settings, self.modes)

    def study(self, motion: PictureMotion, captured_ns: int) -> None:
        """See `Reenactor.study`."""
        self._codes_anchor.study(motion, captured_ns)

    def end_study(self) -> None:
        """See `Reenactor.end_study`."""
        self._codes_anchor.end_study()

    def role(
        self,
        motion: MotionCode | None,  # noqa: ARG002 - the codes are in the features
        features: Features,
        around: Composite,
    ) -> Role[PictureMotion, PictureMotion, CodeDrive]:
        """See `Reenactor.role`."""
        own = self._model.own_codes(features)
        edit = JointEdit(own) if self.modes == (Mode.BOTH,) else PictureEdit(own)
        return Role(edit=edit, generate=PictureGenerate(self._model, features), composite=around)

    def successor(self) -> Reenactor[Any, Any, Any] | None:
        """See `Reenactor.successor`: once the model draws whole frames, its codes stay on the device."""
        drawer = self._model.open_frames() if isinstance(self._model, FrameModel) else None
        if drawer is None:
            return None
        if self._codes_anchor.neutral is not None:
            drawer.set_neutral(self._codes_anchor.neutral.codes)
        return DeviceReenactor(self._model, drawer, self._codes_anchor, smooth=self._smooth)


class DeviceReenactor:
    """The same with codes that stay on the device; see `Reenactor`."""

    def __init__(
        self, model: PictureModel, drawer: FrameDrawer, anchor: CodesAnchor, *, smooth: bool
    ) -> None:
        """``anchor``: with the neutral found so far."""
        self._model, self._drawer, self._shown = model, drawer, Shown()
        self.modes = model.modes
        self.encode: Encode[DeviceMotion] = DeviceEncoder(model.size, crops=drawer.wants_crop, smooth=smooth)
        # It looks at what the tracker saw, never at codes.
        self.anchor: Anchor[Any, Any] = anchor

    def needs_neutral(self, settings: EditSettings) -> bool:
        """See `Reenactor.needs_neutral`."""
        return uses_neutral(settings, self.modes)

    def study(self, motion: DeviceMotion, captured_ns: int) -> None:
        """See `Reenactor.study`. Codes are read when a frame is drawn: the neutral is found then."""

    def end_study(self) -> None:
        """See `Reenactor.end_study`."""

    def role(
        self,
        motion: MotionCode | None,  # noqa: ARG002 - the codes are in the features
        features: Features,
        around: Composite,
    ) -> Role[DeviceMotion, DeviceMotion, DeviceDrive]:
        """See `Reenactor.role`."""
        self._model.own_codes(features)  # refuses a portrait of another model
        generate = DeviceGenerate(self._drawer, self._shown, features, around, self._model.size)
        composite = around if self._drawer.wants_crop else CopyResult()
        return Role(edit=DeviceEdit(), generate=generate, composite=composite)

    def successor(self) -> None:
        """See `Reenactor.successor`."""


def reenactor(model: LiveModel, *, smooth: bool) -> Reenactor[Any, Any, Any]:
    """The way that a model goes."""
    if isinstance(model, PictureModel):
        on_host = PictureReenactor(model, smooth=smooth)
        return on_host.successor() or on_host
    return TrackerReenactor(model, smooth=smooth)
