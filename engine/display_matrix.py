"""Turn pictures as their files state. Importing this needs no decoder."""

from __future__ import annotations

import numpy as np

from mimicam.engine.types import Image


def upright(image: Image, display_matrix: tuple[int, int, int, int]) -> Image:
    """Turn and mirror a picture as its file states.

    Args:
        image: as it is stored.
        display_matrix: a, b, c, d, where shown_x = a x + c y and shown_y = b x + d y; y points
            down. Only quarter turns are applied, others are rounded to them.
    """
    a, b, c, d = display_matrix
    if abs(a) + abs(d) < abs(b) + abs(c):
        image = image.swapaxes(0, 1)
        a, d = c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
