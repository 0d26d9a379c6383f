"""Contracts of frame graphs, which draw a whole frame where the networks run.

The host decides from the tracker and the frames' times what a frame needs. It sends that as a
control block (`CodeUpdate`). Codes, their history and the picture stay on the device. Importing
this needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.stages.surroundings import OutputCanvas, PortraitTexture
from mimicam.engine.types import EditSettings, Float, Image, Mode

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
"""``[2, 3]``: crop_from_image of a picture that is the crop already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeUpdate:
    """Control block of one frame, which `kernels.edit_codes` reads by name."""

    follow: bool = True
    """Whether the driver's codes are the target; otherwise the portrait's own codes are."""
    fresh: bool = True
    """Whether smoothing restarts with this frame."""
    seconds: float = 0.0
    """Seconds since the previous frame, by the frames' own times."""
    take_neutral: bool = False
    """Whether this face becomes the neutral."""
    expression_relative: bool = False
    """Whether expression counts from the neutral; otherwise from the portrait's own codes."""
    pose_relative: bool = False
    """Whether pose counts from the neutral; otherwise from the portrait's own codes."""
    keep: bool = False
    """Whether easing starts from the codes that were drawn last."""
    settings: EditSettings = EditSettings()
    """Its controls reach the kernel under their own names, such as ``pose_gain``."""
    expression_share: float = 1.0
    """Weight of the target against the start of easing, 0..1."""
    pose_share: float = 1.0
    """Weight of the target against the start of easing, 0..1."""
    cutoff_hz: float = 0.0
    """Cut-off of the one-euro filter at rest, Hz."""
    beta: float = 0.0
    """Rise of the cut-off, Hz per unit and second of speed."""
    speed_cutoff_hz: float = 1.0
    """Cut-off of the filter's speed estimate, Hz."""

    def numbers(self, names: Sequence[str]) -> Float:
        """Return these numbers in float32, from the fields or from the settings."""
        # By name: the kernel's list of fields decides the order.
        owners = (self if hasattr(self, name) else self.settings for name in names)
        return np.array([getattr(owner, name) for owner, name in zip(owners, names, strict=True)], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """Input of a frame graph for one frame."""

    image: Image | None
    """The driver's frame, RGB uint8. None: no face was found."""
    image_from_crop: Float
    """``[2, 3]``: pixels of the network's input to pixels of ``image``."""
    mode: Mode
    """Mode, which selects the branches to run."""
    edit: CodeUpdate


class FrameGraph(Protocol):
    """Draws the frames of one session of an image-driven model. One thread, one frame at a time."""

    wants_crop: bool
    """Whether frames are face crops ``[S, S, 3]`` and results bare faces. Otherwise the graph crops
    and pastes."""

    def enter(self, features: Features, canvas: OutputCanvas) -> None:
        """Draw this portrait from the next frame on; free if it is drawn already."""

    def set_neutral(self, codes: LatentCodes) -> None:
        """Set the neutral's codes, which another backend has read."""

    def __call__(self, frame: FrameRequest) -> Image:
        """Return the result, uint8. The next frame overwrites its buffer."""


class CanvasGraph(Protocol):
    """Draws frames of one session of a tracker-driven model, from conditioning to picture."""

    def enter(self, features: Features, texture: PortraitTexture) -> None:
        """See `FrameGraph.enter`."""

    def __call__(self, conditioning: Mapping[str, Float], mouth: Float, hair: Float | None = None) -> Image:
        """See `FrameGraph.__call__`.

        Args:
            conditioning: as in `engine.models.base.TrackerDrivenModel.generate`.
            mouth: ``[4, S, S]``, drawn over the inpainted picture: red, green and blue in -1..1
                times the opacity, and the opacity.
            hair: weights and motion of the hair in one array. None: the generator's flow stays.
        """
