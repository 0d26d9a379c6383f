"""The values that travel along the frame path.

Spaces: *image* is pixels of the camera frame, (0, 0) the centre of the first pixel, x right, y down.
*crop* is normalised: -1..1 over the square crop box, x right, y down. *canonical* is the head's own
frame: origin between the eyes' outer corners' centroid, unit length is the tracker's mean face size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.controls import EditSettings as EditSettings
from mimicam.engine.controls import Mode as Mode
from mimicam.engine.controls import MotionReference as MotionReference

Float = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

LANDMARKS = 478
BLENDSHAPES = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture and the moment it was seen.

    Every frame derived from it keeps ``seq`` and ``captured_ns``, so any point of the pipeline can
    tell how old its picture is.
    """

    image: Image
    """uint8 ``[H, W, 3]``, RGB, contiguous."""
    seq: int
    """Counts up from 0 per source. A gap means dropped frames."""
    captured_ns: int
    """Monotonic clock (``time.monotonic_ns``), when the picture was delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPose:
    """A weak-perspective placement of the canonical head: ``xy = scale * (R @ canonical)[:2] + t``."""

    rotation: Float
    """``[3, 3]``, crop_from_canonical (or image_from_canonical: its field says which)."""
    translation: Float
    """``[2]``, in the target space's unit."""
    scale: float
    """Target-space units per canonical unit."""

    def angles_rad(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll. Yaw is positive when the nose points to larger x; pitch when it points down."""
        r = self.rotation
        return (
            float(np.arctan2(-r[0, 2], r[2, 2])),
            float(np.arctan2(-r[1, 2], np.hypot(r[0, 2], r[2, 2]))),
            float(np.arctan2(r[1, 0], r[0, 0])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """What the tracker reads off one face."""

    landmarks: Float
    """``[478, 3]``, image space in pixels; z in the same unit, smaller is nearer the camera."""
    blendshapes: Float
    """``[52]``, ARKit order of MediaPipe (0 is ``_neutral``), 0..1."""
    presence: float
    """0..1, how sure the landmark network is that this is a face."""

    def is_finite(self) -> bool:
        """Whether the tracker's networks gave numbers everywhere."""
        return bool(np.isfinite(self.landmarks).all() and np.isfinite(self.blendshapes).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class CropBox:
    """A square of the image, axis-aligned."""

    x_px: float
    """Left edge."""
    y_px: float
    """Top edge."""
    size_px: float
    """Side length."""

    def from_image(self, points: Float) -> Float:
        """Image points ``[N, 2 or 3]`` to crop space. z is scaled alike and keeps its origin."""
        out = np.asarray(points, np.float32) * np.float32(2.0 / self.size_px)
        out[:, 0] -= 2.0 * self.x_px / self.size_px + 1.0
        out[:, 1] -= 2.0 * self.y_px / self.size_px + 1.0
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionCode:
    """Pose and expression of one face in one crop; identity stays behind."""

    expression: Float
    """``[52]``, the tracker's blendshapes."""
    pose: HeadPose
    """crop_from_canonical."""
    shape: Float
    """``[478, 3]``, the landmarks in the canonical frame (expression and identity together)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpFields:
    """A generated picture before it is composed: where the portrait's pixels go, and what is inpainted over them."""

    inpaint: Image
    """uint8 ``[S, S, 3]``."""
    visibility: Float
    """``[S, S]`` in 0..1: opacity of the warped portrait over ``inpaint`` (an occlusion mask)."""
    flow: Float
    """``[S/2, S/2, 2]``, crop units: position in the portrait that a pixel comes from, minus its own position."""
