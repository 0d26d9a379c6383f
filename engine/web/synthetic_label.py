"""The label “synthetic” in the results."""

from __future__ import annotations

import cv2
import numpy as np

from mimicam.engine.types import Image
from mimicam.engine.web.settings import Badge

_TEXT = "synthetic"


class SyntheticLabel:
    """Draws the label into results, in place. It is rendered once per size."""

    def __init__(self) -> None:
        self._side = 0
        self._mark = np.zeros((0, 0, 3), np.uint8)

    def __call__(self, image: Image, where: Badge) -> None:
        """Draw into a corner of uint8 ``[H, W, 3]``, or not at all."""
        if where == "off":
            return
        side = min(image.shape[:2])
        if side != self._side:
            self._side, self._mark = side, _draw(side)
        height, width = self._mark.shape[:2]
        margin = max(2, side // 40)
        top = margin if where.startswith("top") else image.shape[0] - margin - height
        left = margin if where.endswith("left") else image.shape[1] - margin - width
        region = image[top : top + height, left : left + width]
        # Darken the picture by 55 % below the letters, so that they are legible on any picture.
        np.copyto(region, cv2.addWeighted(region, 0.45, self._mark, 1.0, 0.0))


def _draw(side: int) -> Image:
    """Render white letters on a nearly black plate."""
    scale = max(0.32, side / 900)
    (width, height), baseline = cv2.getTextSize(_TEXT, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    pad = max(3, height // 2)
    mark = np.full((height + baseline + 2 * pad - baseline // 2, width + 2 * pad, 3), 8, np.uint8)
    where = (pad, pad + height)
    cv2.putText(mark, _TEXT, where, cv2.FONT_HERSHEY_SIMPLEX, scale, (232, 232, 232), 1, cv2.LINE_AA)
    return mark
