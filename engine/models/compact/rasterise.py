"""Rasterise outlines in crop space into soft masks.

They are drawn at twice the size, in sixteenths of a pixel, then averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mimicam.engine.types import Float

SHIFT = 4
"""Fractional bits of a drawn point: the ``shift`` of OpenCV's functions."""
_SUPERSAMPLE = 2
"""Supersampling factor. It makes a closed mouth faint, which the rasteriser draws one pixel
wide."""

Part = tuple[slice, slice]
"""Rows and columns of a map; both slices have a start and a stop."""


class MaskRasteriser:
    """Rasterises outlines for masks of one size, one mask after another. Not thread-safe."""

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self._fine = np.zeros((size_px * _SUPERSAMPLE,) * 2, np.uint8)
        self._coarse = np.zeros((size_px, size_px), np.uint8)
        self._whole: Part = (slice(0, size_px), slice(0, size_px))

    def clear(self) -> None:
        """Set the canvas to 0."""
        self._fine.fill(0)

    def points(self, places: Float) -> np.ndarray:
        """Convert crop-space ``[..., 2 or more]`` to int32 ``[..., 2]``.

        Points far outside are clamped: they stay invisible.
        """
        fine = self.size_px * _SUPERSAMPLE
        points = ((places[..., :2] + 1) * (fine / 2) - 0.5) * (1 << SHIFT)
        # Clamped, since OpenCV's fixed-point coordinates overflow far outside.
        found: np.ndarray = np.clip(points, -(1 << 20), 1 << 20).round().astype(np.int32)
        return found

    def average(self, out: Float, part: Part | None = None) -> None:
        """Average the canvas into a mask ``[size, size]`` in 0..1, or into one part of it."""
        rows, columns = part or self._whole
        fine = self._fine[_finer(rows), _finer(columns)]
        size = (columns.stop - columns.start, rows.stop - rows.start)
        coarse = cv2.resize(fine, size, dst=self._coarse[rows, columns], interpolation=cv2.INTER_AREA)
        np.copyto(out[rows, columns], coarse)  # multiplying with a cast would allocate a buffer
        out[rows, columns] *= np.float32(1 / 255)

    def boxes(self, points: np.ndarray) -> np.ndarray:
        """Return the part of a mask that each outline can reach, ``[..., 4]``: left, top, right, bottom.

        Args:
            points: outlines from `points`, ``[..., P, 2]``.
        """
        # The filling draws the border too, rounded to whole pixels.
        low = (points.min(axis=-2) >> SHIFT) - 1
        high = (points.max(axis=-2) >> SHIFT) + 2
        box = np.concatenate([low // _SUPERSAMPLE, high // _SUPERSAMPLE + 1], axis=-1)
        return box.clip(0, self.size_px)

    def fill(self, outlines: Sequence[np.ndarray]) -> None:
        """Fill the outlines on the canvas, together: where two overlap, nothing is filled."""
        cv2.fillPoly(self._fine, outlines, (255,), shift=SHIFT)

    def fill_convex(self, outline: np.ndarray) -> None:
        """Fill one convex outline on the canvas."""
        cv2.fillConvexPoly(self._fine, outline, (255,), shift=SHIFT)

    def take(self, box: Sequence[int], out: np.ndarray) -> None:
        """Average one box of the canvas into a mask of bytes, and clear that box."""
        left, top, right, bottom = box
        if left < right and top < bottom:
            fine = self._fine[_finer(slice(top, bottom)), _finer(slice(left, right))]
            size = (right - left, bottom - top)
            cv2.resize(fine, size, dst=out[top:bottom, left:right], interpolation=cv2.INTER_AREA)
            fine.fill(0)


def _finer(part: slice) -> slice:
    return slice(part.start * _SUPERSAMPLE, part.stop * _SUPERSAMPLE)
