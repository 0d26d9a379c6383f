"""Choose the square box that a face is read and drawn in.

As in the training clips, the box stays while the face moves inside it (DPE, section 4.1: "faces
move freely within a fixed bounding box and no need to align").
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimicam.engine.face.geometry import head_pose
from mimicam.engine.types import CropBox, Face, Float, Image

# Median head scale and position in the training clips (12,557 frames, 2026-11), crop units.
HEAD_SCALE = 0.40
HEAD_Y = -0.18

# Head displacement (crop units) and change of scale before the box follows: the 5th to 95th
# percentile of the clips.
_FREE_X, _FREE_Y = 0.30, 0.30
_FREE_SCALE = 1.35
_FOLLOW_HZ = 0.5
"""Cut-off of the low pass with which the box follows, Hz."""
_REACQUIRE = 2.5
"""Crop units. Head displacement beyond which the box jumps to the face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A driver's face in its box."""

    image: Image
    """Whole frame, uint8 ``[H, W, 3]``. An image encoder cuts its own input from it."""
    box: CropBox
    face: Face | None
    """None if the tracker did not run. Then the frame is a face crop, and an image encoder reads
    its motion."""
    captured_ns: int
    mirror: bool = False
    """Encode the face mirrored. The tracker's motion is mirrored later, in the edit."""


def portrait_box(face: Face) -> CropBox:
    """Return the box that puts a head where the training clips have it."""
    pose = head_pose(face.landmarks)
    size = 2.0 * pose.scale / HEAD_SCALE
    return CropBox(
        x_px=float(pose.translation[0]) - size / 2,
        y_px=float(pose.translation[1]) - size * (HEAD_Y + 1) / 2,
        size_px=size,
    )


def at_rest(shape: Float) -> Float:
    """Return where that box shows a head seen from the front: crop-space ``[..., L, 2]`` of a canonical
    shape ``[..., L, 3]``."""
    placed: Float = shape[..., :2] * np.float32(HEAD_SCALE) + np.array([0.0, HEAD_Y], np.float32)
    return placed


def cut(
    image: Image, box: CropBox, size: int, *, out: Image | None = None, soft: Image | None = None
) -> Image:
    """Return the box's content, ``[size, size, 3]``; beyond the picture its edge repeats.

    Args:
        image: uint8 ``[H, W, 3]``.
        box: square to cut.
        size: side of the result.
        out: receives the result; None makes a new one.
        soft: buffer of the image's shape, used for large boxes; None allocates one when needed.
    """
    if (scale := box.size_px / size) > 1.5:  # bilinear sampling would skip pixels: blur to the new rate first
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * scale, dst=soft)
    matrix = image_from_crop(box, size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def image_from_crop(box: CropBox, size: int, *, mirror: bool = False) -> Float:
    """Return ``[2, 3]``: pixels of a crop of ``size`` to pixels of the picture.

    ``mirror``: the crop is mirrored.
    """
    scale = box.size_px / size
    left, top = box.x_px + scale / 2 - 0.5, box.y_px + scale / 2 - 0.5
    if mirror:
        return np.array([[-scale, 0, left + scale * (size - 1)], [0, scale, top]], np.float32)
    return np.array([[scale, 0, left], [0, scale, top]], np.float32)


class Cutter:
    """Cuts one frame after another into one buffer. The next call overwrites a result."""

    def __init__(self, size: int) -> None:
        """Allocate results of ``size`` pixels a side."""
        self._out = np.empty((size, size, 3), np.uint8)
        self._soft = np.empty((0, 0, 3), np.uint8)

    def __call__(self, image: Image, box: CropBox) -> Image:
        """See `cut`."""
        if self._soft.shape != image.shape:
            self._soft = np.empty_like(image)
        return cut(image, box, len(self._out), out=self._out, soft=self._soft)


class DriverBox:
    """Places the driver's box at the first face and keeps it there.

    The box follows slowly once the face nears its edge.
    """

    def __init__(self) -> None:
        self._box: CropBox | None = None
        self._last_ns = 0

    def reset(self) -> None:
        """Place the box again at the next face."""
        self._box = None

    def __call__(self, face: Face, captured_ns: int) -> CropBox:
        """Return the box for this frame."""
        target = portrait_box(face)
        if self._box is None or _far(self._box, target):
            self._box = target
        elif _outside(self._box, target):
            seconds = min(max((captured_ns - self._last_ns) * 1e-9, 0.0), 0.2)
            self._box = _towards(self._box, target, 1.0 - float(np.exp(-2 * np.pi * _FOLLOW_HZ * seconds)))
        self._last_ns = captured_ns
        return self._box


def _offset(box: CropBox, target: CropBox) -> tuple[float, float]:
    half = box.size_px / 2
    dx = (target.x_px + target.size_px / 2 - box.x_px - half) / half
    dy = (target.y_px + target.size_px / 2 - box.y_px - half) / half
    return abs(dx), abs(dy)


def _outside(box: CropBox, target: CropBox) -> bool:
    dx, dy = _offset(box, target)
    ratio = target.size_px / box.size_px
    return dx > _FREE_X or dy > _FREE_Y or not 1 / _FREE_SCALE < ratio < _FREE_SCALE


def _far(box: CropBox, target: CropBox) -> bool:
    """Whether following would take seconds: another person, or a jump."""
    ratio = target.size_px / box.size_px
    return max(_offset(box, target)) > _REACQUIRE or not 0.4 < ratio < 2.5


def _towards(box: CropBox, target: CropBox, share: float) -> CropBox:
    return CropBox(
        x_px=box.x_px + share * (target.x_px - box.x_px),
        y_px=box.y_px + share * (target.y_px - box.y_px),
        size_px=box.size_px + share * (target.size_px - box.size_px),
    )


def whole_box(image: Image) -> CropBox:
    """Return the box of a face crop: the whole picture, with bars where it is not square."""
    height, width = image.shape[:2]
    side = max(height, width)
    return CropBox(x_px=(width - side) / 2, y_px=(height - side) / 2, size_px=float(side))
