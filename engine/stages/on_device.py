"""The stages of a picture-driven model whose codes never leave the device (`engine.models.frame_graph`).

The same decisions as in `engine.stages.picture`, which is the reference, but told instead of computed: how much time has
passed, whether this face is the neutral, what is eased from where. One graph then does a frame from crop to paste.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.models.base import Features
from mimicam.engine.models.frame_graph import IDENTITY, CanvasDrawer, CodeUpdate, FrameDrawer, LiveFrame
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import Cutter, image_from_crop
from mimicam.engine.stages.encode import Crop
from mimicam.engine.stages.motion import Drive, read_motion
from mimicam.engine.stages.picture import BETA, CUTOFF_HZ, relative_branches
from mimicam.engine.types import EditSettings, Float, Image, Mode, MotionCode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceMotion:
    """A driver's frame that the device has not read yet."""

    image: Image
    """The whole picture, or the crop where the drawer wants that."""
    image_from_crop: Float
    """``[2, 3]``"""
    seen: MotionCode | None
    """See `engine.stages.picture.PictureMotion.seen`."""
    mirror: bool
    fresh: bool
    """Smoothing begins with it."""
    seconds: float
    """Since the frame before; 0 where time stands still."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What a drive comes to on the device, told apart by being itself."""

    mode: Mode
    """Which branches it has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceDrive:
    """What shall be shown. The device computes it when it is drawn, and remembers the result."""

    result: Result
    motion: DeviceMotion | None
    """None: the portrait's own codes."""
    edit: CodeUpdate
    past: Result | None = None
    """Eased from this one, which was shown before."""
    share: float = 1.0
    """How far."""

    def towards(self, other: DeviceDrive, share: float) -> DeviceDrive:
        """See `engine.stages.lost.Drivable.towards`."""
        return replace(other, past=self.result, share=share)


class DeviceEncoder:
    """Says where the face is and how much time has passed; see `engine.stages.reenact.Encode`."""

    def __init__(self, size: int, *, crops: bool, smooth: bool = True) -> None:
        """``size``: side of the network's input; ``crops``: cut here, for a drawer that wants crops."""
        self._size, self._smooth = size, smooth
        self._cut = Cutter(size) if crops else None
        self._fresh, self._mirror, self._last_ns = True, False, 0

    def reset(self) -> None:
        """See `engine.stages.reenact.Encode.reset`."""
        self._fresh = True

    def __call__(self, crop: Crop) -> DeviceMotion:
        """See `engine.stages.reenact.Encode`."""
        if crop.mirror != self._mirror:
            self._mirror = crop.mirror
            self.reset()
        fresh = self._fresh or not self._smooth
        seconds = 0.0 if fresh else max((crop.captured_ns - self._last_ns) * 1e-9, 0.0)
        if fresh or seconds > 0:
            self._last_ns = crop.captured_ns
        self._fresh = False
        image, matrix = self._picture(crop)
        seen = None
        if crop.face is not None:
            seen = read_motion(crop.box.from_image(crop.face.landmarks), crop.face.blendshapes)
        return DeviceMotion(
            image=image, image_from_crop=matrix, seen=seen, mirror=crop.mirror, fresh=fresh, seconds=seconds
        )

    def _picture(self, crop: Crop) -> tuple[Image, Float]:
        if self._cut is None:
            return crop.image, image_from_crop(crop.box, self._size, mirror=crop.mirror)
        picture = self._cut(crop.image, crop.box)
        return (cv2.flip(picture, 1) if crop.mirror else picture), IDENTITY


class DeviceEdit:
    """See `engine.stages.reenact.Edit`. Which portrait it is, the generator says."""

    def __call__(
        self, driver: DeviceMotion, neutral: DeviceMotion | None, settings: EditSettings
    ) -> DeviceDrive:
        """See `engine.stages.reenact.Edit`."""
        by_expression, by_pose = relative_branches(settings)
        edit = CodeUpdate(
            fresh=driver.fresh, seconds=driver.seconds, take_neutral=neutral is driver,
            expression_relative=neutral is not None and by_expression, pose_relative=neutral is not None and by_pose,
            expression_gain=settings.expression_gain, pose_gain=settings.pose_gain,
            cutoff_hz=CUTOFF_HZ, beta=BETA,
        )  # fmt: skip
        return DeviceDrive(result=Result(mode=settings.mode), motion=driver, edit=edit)

    def rest(self, settings: EditSettings) -> DeviceDrive:
        """See `engine.stages.reenact.Edit.rest`."""
        return DeviceDrive(result=Result(mode=settings.mode), motion=None, edit=CodeUpdate(follow=False))


class Shown:
    """Which results the device remembers: the one shown last, and the one that easing starts from."""

    def __init__(self) -> None:
        self._last: Result | None = None
        self._held: Result | None = None

    def next(self, drive: DeviceDrive) -> LiveFrame:
        """What to tell the device so that it shows this drive.

        Raises:
            ValueError: it eases from a drive that the device has forgotten.
        """
        again = drive.result is self._last or drive.result is self._held
        past = drive.result if again else drive.past
        keep = past is not None and past is not self._held
        if keep and past is not self._last:
            raise ValueError("drive.past must be what was shown last, or what was eased from before")
        self._held, self._last = past if keep else self._held, drive.result
        motion = None if again else drive.motion
        edit = replace(
            drive.edit,
            follow=motion is not None,
            keep=keep,
            expression_share=0.0 if again else _share(drive, past, without=Mode.POSE),
            pose_share=0.0 if again else _share(drive, past, without=Mode.EXP),
        )
        if motion is None:
            return LiveFrame(image=None, image_from_crop=IDENTITY, mode=drive.result.mode, edit=edit)
        return LiveFrame(
            image=motion.image, image_from_crop=motion.image_from_crop, mode=drive.result.mode, edit=edit
        )


class DeviceGenerate:
    """One portrait's frames; see `engine.stages.reenact.Generate`. The picture is the finished one."""

    def __init__(
        self, drawer: FrameDrawer, shown: Shown, features: Features, around: Composite, face_px: int
    ) -> None:
        """``shown``: shared by all portraits of a session; ``face_px``: side of the generated face."""
        self._drawer, self._shown, self._features = drawer, shown, features
        self._canvas = around.on_device(face_px)

    def __call__(self, drive: DeviceDrive) -> Image:
        """See `engine.stages.reenact.Generate`."""
        self._drawer.enter(self._features, self._canvas)
        return self._drawer(self._shown.next(drive))


class CanvasGenerate:
    """The compact generator and its layers put together; see `engine.stages.reenact.Generate`."""

    def __init__(self, drawer: CanvasDrawer, features: Features, around: Composite, crop_px: int) -> None:
        """``crop_px``: side of the networks' picture."""
        self._drawer, self._features, self._scene = drawer, features, around.scene(crop_px)

    def __call__(self, drive: Drive) -> Image:
        """See `engine.stages.reenact.Generate`."""
        self._drawer.enter(self._features, self._scene)
        return self._drawer(drive.conditioning(), drive.mouth.maps)


class CopyResult:
    """A finished picture, made the caller's own; in `Composite`'s place."""

    def __init__(self) -> None:
        self._pool: BufferPool[np.uint8] | None = None

    def __call__(self, picture: Image) -> Image:
        """A copy that nobody overwrites."""
        if self._pool is None or self._pool.shape != picture.shape:
            self._pool = BufferPool(picture.shape, np.uint8)
        out = self._pool.take()
        np.copyto(out, picture)
        return out


def _share(drive: DeviceDrive, past: Result | None, *, without: Mode) -> float:
    """A branch that was not shown is not eased from; ``without``: the mode that lacks it."""
    return 1.0 if past is None or past.mode is without else drive.share
