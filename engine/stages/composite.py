"""Put the generated face on the canvas the sink wants.

The canvas is the portrait's own picture around the crop, so that a 4:3 camera shows more of it than the
square; where the picture ends, its edge runs on, blurred. The face is blended in with a soft border.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.backends.live import Canvas
from engine.runtime.buffers import BufferPool
from engine.stages.crop import cut
from engine.types import CropBox, Image

_SOFT = 0.06
"""Width of the soft border, as a share of the crop's side."""


class Composite:
    """Draws results of one portrait at one size. Not thread-safe. Each result is the caller's to keep."""

    def __init__(self, picture: Image, box: CropBox, size: tuple[int, int] | None) -> None:
        """``size``: (width, height) of the canvas, or None for the bare crop."""
        self._size = size
        self._pool: BufferPool[np.uint8] | None = None
        if size is None:
            return
        width, height = size
        self._side = min(width, height)
        self._left, self._top = (width - self._side) // 2, (height - self._side) // 2
        self._canvas = _surroundings(picture, box, width, height)
        self._under = self._region(self._canvas).copy()
        self._scaled = np.empty((self._side, self._side, 3), np.uint8)
        self._face_weight = _soft_mask(self._side)
        self._under_weight = 1.0 - self._face_weight

    def __call__(self, face: Image) -> Image:
        """The face on its canvas, uint8 ``[height, width, 3]``."""
        if self._size is None:
            out = self._buffer(face.shape)
            np.copyto(out, face)
            return out
        if face.shape[0] != self._side:
            face = cv2.resize(face, (self._side, self._side), dst=self._scaled, interpolation=cv2.INTER_CUBIC)
        out = self._buffer(self._canvas.shape)
        np.copyto(out, self._canvas)
        cv2.blendLinear(face, self._under, self._face_weight, self._under_weight, dst=self._region(out))
        return out

    def on_device(self, face_px: int) -> Canvas:
        """The same for `kernels.paste_back`, from a face of this side. A GPU enlarges it bilinearly, not by cubics."""
        matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        if self._size is None:
            bare = np.zeros((face_px, face_px, 3), np.uint8)
            return Canvas(picture=bare, mask=np.ones((face_px, face_px), np.float32), crop_from_image=matrix)
        scale = face_px / self._side
        matrix *= scale
        matrix[:, 2] = scale * (0.5 - np.array([self._left, self._top])) - 0.5
        return Canvas(picture=self._canvas, mask=_soft_mask(face_px), crop_from_image=matrix)

    def _buffer(self, shape: tuple[int, ...]) -> Image:
        """One that nobody holds any more. The bare crop's size is known with the first face."""
        if self._pool is None:
            self._pool = BufferPool(shape, np.uint8)
        return self._pool.take()

    def _region(self, canvas: Image) -> Image:
        return canvas[self._top : self._top + self._side, self._left : self._left + self._side]


def _surroundings(picture: Image, box: CropBox, width: int, height: int) -> Image:
    """The picture around the box, scaled so that the box fills the canvas's shorter side."""
    side = min(width, height)
    scale = box.size_px / side
    longest = max(width, height)
    wide = CropBox(
        x_px=box.x_px - scale * (longest - side) / 2,
        y_px=box.y_px - scale * (longest - side) / 2,
        size_px=scale * longest,
    )
    square = cut(picture, wide, longest)
    left, top = (longest - width) // 2, (longest - height) // 2
    canvas = square[top : top + height, left : left + width]
    return _blur_outside(canvas, picture, wide, left, top)


def _blur_outside(canvas: Image, picture: Image, wide: CropBox, left: int, top: int) -> Image:
    """Blur where the picture has ended and its edge was repeated: streaks become a backdrop."""
    height, width = canvas.shape[:2]
    scale = wide.size_px / max(width, height)
    xs = wide.x_px + (np.arange(width) + left) * scale
    ys = wide.y_px + (np.arange(height) + top) * scale
    inside = ((xs >= 0) & (xs < picture.shape[1]))[None] & ((ys >= 0) & (ys < picture.shape[0]))[:, None]
    if inside.all():
        return np.ascontiguousarray(canvas)
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.01 * max(width, height))[..., None]
    blurred = cv2.GaussianBlur(canvas, (0, 0), 0.04 * max(width, height))
    return (canvas * soft + blurred * (1 - soft)).round().astype(np.uint8)


def _soft_mask(side: int) -> np.ndarray:
    ramp = np.clip((np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / (_SOFT * side), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.outer(ramp, ramp).astype(np.float32)
