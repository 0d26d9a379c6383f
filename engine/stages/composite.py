"""Composite the generated face onto the output canvas.

The canvas is the portrait's own picture around the crop, so that a 4:3 camera shows more of it than
the square. Beyond the picture's end, its blurred edge continues. The face is blended in with a soft
border.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.maths import smoothstep
from mimicam.engine.stages.crop import cut
from mimicam.engine.stages.still_background import split
from mimicam.engine.stages.surroundings import REACH, OutputCanvas, PortraitTexture
from mimicam.engine.types import CropBox, Float, Image

_SOFT = 0.06
"""Width of the soft border, in crop sides."""
_COARSE = 8
"""Factor by which the canvas is reduced for the wide blur."""


class Composite:
    """Composites results of one portrait at one size. Not thread-safe.

    The caller may keep each result.
    """

    def __init__(
        self,
        picture: Image,
        box: CropBox,
        size: tuple[int, int] | None,
        *,
        side: int | None = None,
        matte: Callable[[], Float | None] = lambda: None,
    ) -> None:
        """Set up for one portrait.

        Args:
            picture: the whole picture.
            box: the crop.
            size: (width, height) of the canvas; None is the bare crop.
            side: side of the crop, which is in the canvas's middle, pixels; None: as large as fits.
            matte: returns the person's opacity in the picture, ``[H, W]``; None: all of it moves.
                Called if `texture` is.
        """
        self._picture, self._box, self._size, self._matte = picture, box, size, matte
        self._pool: BufferPool[np.uint8] | None = None
        if size is None:
            return
        width, height = size
        self._side = side or min(width, height)
        self._left, self._top = (width - self._side) // 2, (height - self._side) // 2

    # Made on first use: a family that composites with `WarpComposite` needs the texture alone.
    @cached_property
    def _canvas(self) -> Image:
        assert self._size is not None, "the bare crop has no canvas"
        return _surroundings(self._picture, self._box, self._size, self._side)

    @cached_property
    def _under(self) -> Image:
        return self._region(self._canvas).copy()

    @cached_property
    def _scaled(self) -> Image:
        return np.empty((self._side, self._side, 3), np.uint8)

    @cached_property
    def _weights(self) -> tuple[Float, Float]:
        """Opacity of the face and of the canvas under it, float32 ``[side, side]`` each."""
        face = soft_mask(self._side)
        under: Float = np.subtract(1.0, face, dtype=np.float32)
        return face, under

    def __call__(self, face: Image) -> Image:
        """Return the face on its canvas, uint8 ``[height, width, 3]``."""
        if self._size is None:
            out = self._buffer(face.shape)
            np.copyto(out, face)
            return out
        if face.shape[0] != self._side:
            face = cv2.resize(face, (self._side, self._side), dst=self._scaled, interpolation=cv2.INTER_CUBIC)
        out = self._buffer(self._canvas.shape)
        np.copyto(out, self._canvas)
        cv2.blendLinear(face, self._under, *self._weights, dst=self._region(out))
        return out

    def crop(self, side_px: int) -> Image:
        """Return the portrait's crop, ``[side, side, 3]``."""
        return cut(self._picture, self._box, side_px)

    def texture(self, crop_px: int) -> PortraitTexture:
        """Return the pixels for `engine.stages.warp_composite`.

        ``crop_px``: side of the bare crop, used if there is no canvas.
        """
        width, height = size = self._size or (crop_px, crop_px)
        side = crop_px if self._size is None else self._side
        margin = math.ceil(REACH * side)
        scale, box = 2.0 / self._box.size_px, self._box
        rows, columns = self._picture.shape[:2]
        whole, person, background = self._layers((width + 2 * margin, height + 2 * margin), side)
        on_canvas = (slice(margin, margin + height), slice(margin, margin + width))
        return PortraitTexture(
            texture=person,
            canvas=np.ascontiguousarray(whole[on_canvas]),
            background=None if background is None else np.ascontiguousarray(background[on_canvas]),
            margin=margin,
            left=(width - side) // 2,
            top=(height - side) // 2,
            side=side,
            size=size,
            known=(
                -1 - scale * box.x_px, -1 - scale * box.y_px,
                scale * (columns - box.x_px) - 1, scale * (rows - box.y_px) - 1,
            ),
        )  # fmt: skip

    def _layers(self, size: tuple[int, int], side: int) -> tuple[Image, Image, Image | None]:
        """Return picture, person and background around the box; see `_surroundings` for the
        size."""
        whole, matte = _surroundings(self._picture, self._box, size, side), self._matte()
        if matte is None:
            return whole, cv2.cvtColor(whole, cv2.COLOR_RGB2RGBA), None
        opacity = (matte * 255).round().astype(np.uint8)
        square = _square(self._box, size, side)
        opacity = np.ascontiguousarray(cut(opacity, square, max(size))[: size[1], : size[0]])
        rows = _known(self._picture, square, size)[1]
        return split(whole, opacity, top=int(rows.argmax()), side=side)

    def on_device(self, face_px: int) -> OutputCanvas:
        """Return the canvas for `kernels.paste_back` and faces of this side.

        A GPU enlarges the face bilinearly, the host bicubically.
        """
        matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        if self._size is None:
            bare = np.zeros((face_px, face_px, 3), np.uint8)
            return OutputCanvas(
                picture=bare, mask=np.ones((face_px, face_px), np.float32), crop_from_image=matrix
            )
        scale = face_px / self._side
        matrix *= scale
        # Scaling is about the corner of the first pixel, half a pixel from its centre.
        matrix[:, 2] = scale * (0.5 - np.array([self._left, self._top])) - 0.5
        return OutputCanvas(picture=self._canvas, mask=soft_mask(face_px), crop_from_image=matrix)

    def _buffer(self, shape: tuple[int, ...]) -> Image:
        """Return a buffer that is not in use. The first face determines the bare crop's size."""
        if self._pool is None:
            self._pool = BufferPool(shape, np.uint8)
        return self._pool.take()

    def _region(self, canvas: Image) -> Image:
        return canvas[self._top : self._top + self._side, self._left : self._left + self._side]


class CopyResult:
    """Copies a finished result; used in place of `Composite`."""

    def __init__(self) -> None:
        self._pool: BufferPool[np.uint8] | None = None

    def __call__(self, picture: Image) -> Image:
        """Return a copy that later frames do not overwrite."""
        if self._pool is None or self._pool.shape != picture.shape:
            self._pool = BufferPool(picture.shape, np.uint8)
        out = self._pool.take()
        np.copyto(out, picture)
        return out


def _surroundings(picture: Image, box: CropBox, size: tuple[int, int], side: int) -> Image:
    """Return the picture around the box, ``[height, width, 3]``.

    It is scaled so that the box takes ``side`` pixels in the middle. ``size``: (width, height).
    """
    width, height = size
    square = _square(box, size, side)
    canvas = cut(picture, square, max(size))[:height, :width]
    return _blur_outside(canvas, picture, square)


def _square(box: CropBox, size: tuple[int, int], side: int) -> CropBox:
    """Return the square of the picture whose upper left part is the canvas."""
    scale = box.size_px / side
    # As in `Composite`: half of an odd remainder is rounded down.
    left, top = ((n - side) // 2 for n in size)
    return CropBox(x_px=box.x_px - scale * left, y_px=box.y_px - scale * top, size_px=scale * max(size))


def _known(picture: Image, square: CropBox, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns and which rows of a canvas lie inside the picture."""
    scale, (width, height) = square.size_px / max(size), size
    xs = square.x_px + (np.arange(width) + 0.5) * scale
    ys = square.y_px + (np.arange(height) + 0.5) * scale
    return (xs >= 0) & (xs < picture.shape[1]), (ys >= 0) & (ys < picture.shape[0])


def _blur_outside(canvas: Image, picture: Image, square: CropBox) -> Image:
    """Blur the canvas outside the picture, where the repeated edge would show as streaks."""
    height, width = canvas.shape[:2]
    across, down = _known(picture, square, (width, height))
    if across.all() and down.all():
        return np.ascontiguousarray(canvas)
    # The known area is a rectangle, so its blurred mask is the outer product of two blurred lines.
    # A blur this wide needs an eighth of the pixels.
    sigma = 0.01 * max(width, height)
    sides = (cv2.GaussianBlur(side.astype(np.float32)[None], (0, 0), sigma)[0] for side in (down, across))
    soft = np.minimum(2 * np.outer(*sides), 1.0)
    soft[np.ix_(down, across)] = 1.0  # the picture itself stays as it is
    small = (max(width // _COARSE, 1), max(height // _COARSE, 1))
    coarse = cv2.resize(canvas, small, interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), 4 * sigma / _COARSE), (width, height))
    return cv2.blendLinear(np.ascontiguousarray(canvas), blurred, soft, 1.0 - soft)


def soft_mask(side: int, *, beside: bool = True, above: bool = True) -> Float:
    """Return the opacity of a face on its canvas, ``[side, side]``.

    It falls to 0 at the left and right border if ``beside``, at the others if ``above``.
    """
    ramp = smoothstep((np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / (_SOFT * side))
    none = np.ones_like(ramp)
    mask: Float = np.outer(ramp if above else none, ramp if beside else none).astype(np.float32)
    return mask
