"""Let control points that a turned head hides move as what covers them.

The generator mixes the motion of all control points near a pixel, hidden ones too. Where a nose
comes to lie before the far cheek, the mean of both motions is that of neither, and tears the nose.
Training mixes all points alike: the bundled weights never saw hidden ones moved.

Shape letters: K control points.
"""

from __future__ import annotations

import numpy as np

from mimicam.engine.types import Float

_REACH = 0.1
"""Distance at which a point covers another by a third, crop units."""
_FOLD, _DEEPER = 0.02, 0.04
"""Crop units. Points whose order is reversed by the first are folded over each other; the one that
is deeper by twice the second is hidden."""


class CoveredPoints:
    """Control points of one portrait, as they follow targets. Not thread-safe."""

    def __init__(self, source: Float) -> None:
        """``source``: control points in the portrait, crop space ``[K, 3]``."""
        self._source = source
        apart = np.float32(source[:, None, :2] - source[:, :2])
        # Unit vectors from each point to each other one.
        apart /= np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), _FOLD)
        self._along = np.ascontiguousarray(apart.transpose(2, 0, 1))
        self._apart = np.empty((3, len(source), len(source)), np.float32)
        self._passed, self._product = np.empty((2, len(source), len(source)), np.float32)
        self._folded, self._deeper = np.empty((2, len(source), len(source)), np.bool_)

    def __call__(self, target: Float, affine: Float) -> Float:
        """Return the portrait's points, where hidden ones are moved so that they follow the affine
        map as the points that cover them do.

        Args:
            target: control points in the target, ``[K, 3]``.
            affine: ``[2, 3]``, source_from_target, of the rigid head.
        """
        one = np.ones(len(target), np.float32)
        for apart, values in zip(self._apart, target.T, strict=True):
            # Differences as a product: NumPy's broadcast subtraction takes 64 KB of buffers.
            np.matmul(np.stack([values, one], axis=1), np.stack([one, -values]), out=apart)
        x, y, deeper = self._apart
        # How far two points have passed each other, along the line on which they lay.
        passed = np.multiply(x, self._along[0], out=self._passed)
        passed += np.multiply(y, self._along[1], out=self._product)
        np.negative(passed, out=passed)
        # Few pairs are folded: the rest is computed for these alone.
        folded = np.greater(passed, 0, out=self._folded)
        folded &= np.greater(deeper, _DEEPER, out=self._deeper)
        hidden, over = np.nonzero(folded)
        if not hidden.size:
            return self._source
        pairs = hidden, over
        covers = np.exp(-(x[pairs] ** 2 + y[pairs] ** 2) / _REACH**2)
        covers *= np.minimum(passed[pairs] / _FOLD, 1) * np.minimum(deeper[pairs] / _DEEPER - 1, 1)
        local = self._source[:, :2] - (target[:, :2] @ affine[:, :2].T + affine[:, 2])
        count = len(target)
        total = np.bincount(hidden, covers, count)
        there = [np.bincount(hidden, covers * local[over, axis], count) for axis in (0, 1)]
        moved = self._source.copy()
        change = np.stack(there, axis=-1) / np.maximum(total, 1e-6)[:, None] - local
        moved[:, :2] += np.minimum(total, 1)[:, None] * change
        return moved
