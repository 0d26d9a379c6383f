"""What a backend is told of a whole frame: what surrounds a face, and what the stages decide.

A device that draws frames whole has nothing of them on the host in between: the stages decide by the tracker and the
frames' times what shall become of a frame (`CodeUpdate`); codes, their past and the picture stay where the networks run.
Importing this needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.types import Float, Image, Mode

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
"""``[2, 3]``: of a picture that is the crop already."""
REACH = 0.35
"""How far beyond the canvas the portrait's pixels are kept, in crop sides: heads move by less."""
FADE = 0.25
"""Within so many crop sides beyond the crop the motion at its edge comes to rest, where the canvas goes on there."""
EDGE = 0.06
"""Width of the border, in crop sides, within which nothing is painted any more, where the canvas goes on beyond it."""
BEYOND = 0.04
"""Within so many crop units outside the crop, what the networks painted in ignorance gives way to the portrait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Where the generated face goes, the same for every frame of a portrait."""

    picture: Image
    """What lies around the face, RGB uint8 ``[H, W, 3]``."""
    mask: Float
    """Opacity of the face, 0 to 1, ``[S, S]``."""
    crop_from_image: Float
    """``[2, 3]``: canvas pixels to pixels of the generated face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A portrait's pixels as one canvas needs them."""

    texture: Image
    """The canvas with `REACH` around it, uint8 ``[H + 2 m, W + 2 m, 3]``; where the picture ends, its blurred edge."""
    margin: int
    """m"""
    left: int
    """Of the crop on the canvas."""
    top: int
    side: int
    """a"""
    size: tuple[int, int]
    """(width, height) of the canvas."""
    known: tuple[float, float, float, float]
    """Left, top, right and bottom of the picture, crop units."""

    @property
    def canvas(self) -> Image:
        """What is shown while nothing moves, ``[H, W, 3]``, a view."""
        width, height = self.size
        return self.texture[self.margin : self.margin + height, self.margin : self.margin + width]

    def numbers(self) -> Float:
        """The same for a kernel: `kernels.warp_composite.NUMBERS`, float32."""
        width, height = self.size
        scale, half = 2 / self.side, self.side / 2
        row = (
            scale, (0.5 - self.left) * scale - 1, scale, (0.5 - self.top) * scale - 1,
            half, half - 0.5 + self.left + self.margin, half - 0.5 + self.top + self.margin, *self.known,
            0.5 / FADE, 0.5 / EDGE * (width > self.side), 0.5 / EDGE * (height > self.side), 1 / BEYOND,
        )  # fmt: skip
        return np.array(row, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeUpdate:
    """What becomes of the codes in one frame: the numbers of `kernels.edit_codes`, in its order."""

    follow: bool = True
    """A driver is seen; otherwise the portrait's own codes are the target."""
    fresh: bool = True
    """Smoothing begins with this frame."""
    seconds: float = 0.0
    """Since the frame before, by the frames' own times."""
    take_neutral: bool = False
    """This face is the neutral from now on."""
    expression_relative: bool = False
    """Expression counts from the neutral; otherwise from the portrait's own codes."""
    pose_relative: bool = False
    keep: bool = False
    """What was shown last is what easing starts from, from now on."""
    expression_gain: float = 1.0
    pose_gain: float = 1.0
    expression_share: float = 1.0
    """1 shows the target, 0 what easing starts from."""
    pose_share: float = 1.0
    cutoff_hz: float = 0.0
    """Of the one-euro filter, at rest."""
    beta: float = 0.0
    """Hz per unit and second."""
    speed_cutoff_hz: float = 1.0

    def numbers(self) -> Float:
        """float32, in order."""
        return np.array(astuple(self), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFrame:
    """One frame to draw."""

    image: Image | None
    """The driver's picture, RGB uint8. None: nobody is seen."""
    image_from_crop: Float
    """``[2, 3]``: pixels of the network's input to pixels of ``image``."""
    mode: Mode
    """Which branches run."""
    edit: CodeUpdate


class FrameDrawer(Protocol):
    """One session's frames of a picture-driven model. One thread; at most one frame at a time."""

    wants_crop: bool
    """Frames come as the face's crop, ``[S, S, 3]``, and results go back as the bare face; otherwise it cuts and pastes by
    itself."""

    def enter(self, features: Features, canvas: Canvas) -> None:
        """Draw this portrait from the next frame on; costs nothing where it is drawn already."""

    def set_neutral(self, codes: LatentCodes) -> None:
        """The neutral's codes, where another backend has read them."""

    def __call__(self, frame: LiveFrame) -> Image:
        """The result, uint8; a buffer that the next frame uses again."""


@runtime_checkable
class FrameModel(Protocol):
    """A picture-driven model that draws whole frames where its networks run."""

    def open_frames(self) -> FrameDrawer | None:
        """For one session. None: not now (what can do it is still being built)."""


class CanvasDrawer(Protocol):
    """One session's frames of a tracker-driven model: from a drive to the finished picture."""

    def enter(self, features: Features, scene: Scene) -> None:
        """See `FrameDrawer.enter`."""

    def __call__(self, conditioning: Mapping[str, Float], mouth: Float) -> Image:
        """See `FrameDrawer.__call__`.

        Args:
            conditioning: as in `engine.models.base.TrackerModel.generate`.
            mouth: ``[4, S, S]``, drawn over what is painted: red, green and blue in -1..1 times the opacity, and that.
        """


@runtime_checkable
class CanvasModel(Protocol):
    """A tracker-driven model that puts the layers together where its networks run."""

    def open_canvas(self) -> CanvasDrawer | None:
        """For one session. None: not now."""
