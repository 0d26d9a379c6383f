"""Values that travel along the frame path.

Spaces: *image* is pixels of the camera frame, (0, 0) the centre of the first pixel, x right, y
down. *crop* is normalised: -1..1 over the square crop box, x right, y down. *canonical* is the
head's own frame. Its origin is the centroid of the rigid landmarks, its unit their root mean square
distance in the mean face (`engine.face.geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.controls import Covered as Covered
from mimicam.engine.controls import EditSettings as EditSettings
from mimicam.engine.controls import Mode as Mode
from mimicam.engine.controls import MotionReference as MotionReference
from mimicam.engine.controls import Response as Response

Float = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

LANDMARKS = 478
BLENDSHAPES = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture and the time of its capture.

    Every frame derived from it keeps ``seq`` and ``captured_ns``, so any point of the pipeline can
    compute how old its picture is.
    """

    image: Image
    """uint8 ``[H, W, 3]``, RGB, contiguous."""
    seq: int
    """Counts up from 0 per source. A gap means dropped frames."""
    captured_ns: int
    """Time of delivery on the monotonic clock (``time.monotonic_ns``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPose:
    """Weak-perspective pose of the canonical head: ``xy = scale * (R @ canonical)[:2] + t``."""

    rotation: Float
    """``[3, 3]``, crop_from_canonical or image_from_canonical, as stated where a pose is stored."""
    translation: Float
    """``[2]``, in the target space's unit."""
    scale: float
    """Target-space units per canonical unit."""

    def angles_rad(self) -> tuple[float, float, float]:
        """Return yaw, pitch, roll.

        Yaw is positive when the nose points to larger x, pitch when it points down.
        """
        r = self.rotation
        return (
            float(np.arctan2(-r[0, 2], r[2, 2])),
            float(np.arctan2(-r[1, 2], np.hypot(r[0, 2], r[2, 2]))),
            float(np.arctan2(r[1, 0], r[0, 0])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """Tracker output for one face."""

    landmarks: Float
    """``[478, 3]``, image space in pixels; z in the same unit, smaller is nearer the camera."""
    blendshapes: Float
    """``[52]``, ARKit order of MediaPipe (0 is ``_neutral``), 0..1."""
    presence: float
    """Confidence of the landmark network that this is a face, 0..1."""

    def is_finite(self) -> bool:
        """Whether all outputs of the tracker's networks are finite."""
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
        """Convert image points ``[N, 2 or 3]`` to crop space.

        z is scaled alike and keeps its origin.
        """
        out = np.asarray(points, np.float32) * np.float32(2.0 / self.size_px)
        out[:, 0] -= 2.0 * self.x_px / self.size_px + 1.0
        out[:, 1] -= 2.0 * self.y_px / self.size_px + 1.0
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionCode:
    """Pose, expression and shape of one face in one crop."""

    expression: Float
    """``[52]``, the tracker's blendshapes."""
    pose: HeadPose
    """crop_from_canonical."""
    shape: Float
    """``[478, 3]``, the landmarks in the canonical frame (expression and identity together)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpFields:
    """Generator output before compositing: flow of the portrait's pixels, and inpainting."""

    inpaint: Image
    """uint8 ``[S, S, 3]``."""
    visibility: Float
    """``[S, S]`` in 0..1: opacity of the warped portrait over ``inpaint`` (an occlusion mask)."""
    flow: Float
    """``[S/2, S/2, 2]``, crop units: source position in the portrait minus the pixel's own
    position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeShift:
    """One eye of a picture, and how far its iris has to move.

    Eye coordinates: origin between the corners, u along the line between them, v across it (down),
    both in half eye widths.
    """

    x: float
    """Origin, crop units."""
    y: float
    axis_x: float
    """The u axis: half an eye's width, crop units."""
    axis_y: float
    iris: float
    """Centre of the iris as it is in the picture, u."""
    shift: float
    """Distance to where it has to be, u."""
    radius: float
    """Radius of the iris, half eye widths."""
    upper: float
    """Height v of the upper lid in the middle; smaller is higher."""
    upper_skew: float
    """Tilt of the lid's arch: ``v = upper * (1 - u * u) * (1 + upper_skew * u)``."""
    lower: float
    """Height v of the lower lid in the middle."""
    lower_skew: float
    rise: float = 0.0
    """Distance by which iris and upper lid move across the line between the corners, v; smaller is
    higher."""
    drop: float = 0.0
    """Distance by which the iris alone moves across that line, within the lids, v; larger is
    lower."""

    def lids(self, u: Float) -> tuple[Float, Float]:
        """Heights v of the upper and the lower lid at ``u``."""
        arch = np.maximum(1 - u * u, 0)
        return self.upper * arch * (1 + self.upper_skew * u), self.lower * arch * (1 + self.lower_skew * u)
