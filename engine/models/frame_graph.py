"""Contracts of frame graphs: a whole frame, from motion to finished picture, drawn where the networks run.

The host decides from the tracker and the frames' times what a frame needs and sends it as a control block (`CodeUpdate`).
Codes, their history and the picture stay on the device. Importing this needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np

from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.stages.surroundings import OutputCanvas, PortraitTexture
from mimicam.engine.types import Float, Image, Mode

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
"""``[2, 3]``: crop_from_image of a picture that is the crop already."""


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
class FrameRequest:
    """One frame to draw."""

    image: Image | None
    """The driver's frame, RGB uint8. None: no face is seen."""
    image_from_crop: Float
    """``[2, 3]``: pixels of the network's input to pixels of ``image``."""
    mode: Mode
    """Which branches run."""
    edit: CodeUpdate


class FrameGraph(Protocol):
    """Draws the frames of one session of an image-driven model. One thread, one frame at a time."""

    wants_crop: bool
    """Frames are face crops, ``[S, S, 3]``, and results bare faces. Otherwise the graph cuts and pastes itself."""

    def enter(self, features: Features, canvas: OutputCanvas) -> None:
        """Draw this portrait from the next frame on; free if it is drawn already."""

    def set_neutral(self, codes: LatentCodes) -> None:
        """Set the neutral's codes, which another backend has read."""

    def __call__(self, frame: FrameRequest) -> Image:
        """Return the result, uint8. The next frame overwrites its buffer."""


class CanvasGraph(Protocol):
    """Draws the frames of one session of a tracker-driven model, from conditioning to finished picture."""

    def enter(self, features: Features, texture: PortraitTexture) -> None:
        """See `FrameGraph.enter`."""

    def __call__(self, conditioning: Mapping[str, Float], mouth: Float) -> Image:
        """See `FrameGraph.__call__`.

        Args:
            conditioning: as in `engine.models.base.TrackerDrivenModel.generate`.
            mouth: ``[4, S, S]``, drawn over the inpainted picture: red, green and blue in -1..1 times the opacity, and
                the opacity.
        """
