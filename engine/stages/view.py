"""Choose what of a portrait a result shows: no more than the picture, where that is possible.

Composites are made on a canvas that has the whole crop in its middle. A crop that the picture's
edge cuts off has nothing to show there but the picture's edge, blurred. So the result is the part
of that canvas, its view, that shows the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.types import CropBox, Image

_LEAST = 0.7
"""Crop sides. Height and width that every view shows at least: the face, and room to move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Canvas of a portrait, and the part of it that results show."""

    canvas: tuple[int, int]
    """(width, height) of the canvas, pixels."""
    side: int
    """Side of the crop, which is in the canvas's middle, pixels."""
    left: int
    """Left edge of the view on the canvas, pixels."""
    top: int
    """Top edge of the view on the canvas, pixels."""
    size: tuple[int, int]
    """(width, height) of the view and of results, pixels."""

    @property
    def whole(self) -> bool:
        """Whether the view is the canvas."""
        return self.size == self.canvas


def choose_view(picture: tuple[int, int], box: CropBox, size: tuple[int, int]) -> View:
    """Return the view that results of a portrait show.

    It shows the whole crop if the picture does. Otherwise it is moved into the picture, and made
    smaller than the crop by no more than the picture's edge cuts off.

    Args:
        picture: (width, height) of the portrait's picture, pixels.
        box: its crop.
        size: (width, height) of results, pixels.
    """
    # Picture pixels that the view would cover if it held the whole crop.
    wide = [n * box.size_px / min(size) for n in size]
    zoom = max(min(1.0, *(has / n for has, n in zip(picture, wide, strict=True))), _least(picture, box))
    side = round(min(size) / zoom)
    scale = box.size_px / side
    starts = [
        _start(corner, n * scale, has, box.size_px)
        for corner, n, has in zip((box.x_px, box.y_px), size, picture, strict=True)
    ]
    # Left and top edge of the crop on the view, pixels; negative where the view is smaller.
    before = [round((corner - at) / scale) for corner, at in zip((box.x_px, box.y_px), starts, strict=True)]
    around = [max(b, n - b - side, 0) for b, n in zip(before, size, strict=True)]
    # Twice as much around the crop is an even number, and a canvas as large as the view stays it.
    canvas = [
        n if _is_central(b, n, side) else side + 2 * a for b, n, a in zip(before, size, around, strict=True)
    ]
    left, top = ((n - side) // 2 - b for n, b in zip(canvas, before, strict=True))
    return View(canvas=(canvas[0], canvas[1]), side=side, left=left, top=top, size=size)


def seen_size(picture: tuple[int, int], box: CropBox) -> tuple[float, float]:
    """Return width and height of what the picture shows of the crop, picture pixels.

    Each is at least `_LEAST` of the crop's side.
    """
    width, height = (
        max(min(corner + box.size_px, has) - max(corner, 0.0), _LEAST * box.size_px)
        for corner, has in zip((box.x_px, box.y_px), picture, strict=True)
    )
    return width, height


def _least(picture: tuple[int, int], box: CropBox) -> float:
    return min(seen_size(picture, box)) / box.size_px


def _start(corner: float, extent: float, has: int, side: float) -> float:
    """Return where the view starts along one axis, picture pixels: around the crop's middle, moved
    to show as much of the picture as it can."""
    middle = corner + (side - extent) / 2
    return float(np.clip(middle, min(0.0, has - extent), max(0.0, has - extent)))


def _is_central(before: int, n: int, side: int) -> bool:
    return n >= side and before == (n - side) // 2


class ShowView:
    """Makes results on the canvas and returns the part of them that the view shows."""

    def __init__(self, composite: Callable[[Any], Image], view: View) -> None:
        """``composite`` returns the canvas, uint8 ``[H, W, 3]``, which its caller may keep."""
        width, height = view.size
        self._composite = composite
        self._rows = slice(view.top, view.top + height)
        self._columns = slice(view.left, view.left + width)
        self._pool: BufferPool[np.uint8] = BufferPool((height, width, 3), np.uint8)

    def __call__(self, content: Any) -> Image:
        """Return the result, uint8 ``[height, width, 3]``; the caller may keep it."""
        out = self._pool.take()
        np.copyto(out, self._composite(content)[self._rows, self._columns])
        return out
