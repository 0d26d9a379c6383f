"""Outlines in crop space to soft maps: drawn at twice the size in sixteenths of a pixel, then averaged."""

from __future__ import annotations

import cv2
import numpy as np

from mimicam.engine.types import Float

SHIFT = 4
"""Binary digits of a drawn point's fraction; give it to OpenCV's functions."""
_SUPERSAMPLE = 2
"""A closed mouth is a line one pixel wide to the rasteriser: this makes it faint."""

Part = tuple[slice, slice]
"""Rows and columns of a map, their ends known."""


class MaskRasteriser:
    """What outlines of maps of one size are drawn on, one map after the other. Not thread-safe."""

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self._fine = np.zeros((size_px * _SUPERSAMPLE,) * 2, np.uint8)
        self._coarse = np.zeros((size_px, size_px), np.uint8)
        self._whole: Part = (slice(0, size_px), slice(0, size_px))

    def blank(self) -> np.ndarray:
        """Wiped, to be drawn on in 255 with this canvas's ``points``."""
        self._fine.fill(0)
        return self._fine

    def points(self, places: Float) -> np.ndarray:
        """Crop-space ``[..., 2 or more]`` to int32 ``[..., 2]``; what lies far outside is drawn nearer, outside."""
        fine = self.size_px * _SUPERSAMPLE
        points = ((places[..., :2] + 1) * (fine / 2) - 0.5) * (1 << SHIFT)
        found: np.ndarray = np.clip(points, -(1 << 20), 1 << 20).round().astype(np.int32)
        return found

    def average(self, out: Float, part: Part | None = None) -> None:
        """Write what was drawn to a map ``[size, size]`` in 0..1, or to one part of it."""
        rows, columns = part or self._whole
        fine = self._fine[_finer(rows), _finer(columns)]
        size = (columns.stop - columns.start, rows.stop - rows.start)
        coarse = cv2.resize(fine, size, dst=self._coarse[rows, columns], interpolation=cv2.INTER_AREA)
        np.copyto(out[rows, columns], coarse)  # an operation that casts as it goes would take a buffer
        out[rows, columns] *= np.float32(1 / 255)


def _finer(part: slice) -> slice:
    return slice(part.start * _SUPERSAMPLE, part.stop * _SUPERSAMPLE)
