"""A number painted across the top of a picture, to measure frame age.

Sixteen cells side by side: white, black, twelve bits of the number (lowest first), even parity,
black. A cell is a sixteenth of the picture wide and a twelfth high, so that it survives codecs and
scaling. The page paints and reads the same code (``static/timecode.js``).
"""

from __future__ import annotations

import numpy as np

from mimicam.engine.types import Image

CELLS = 16
BITS = 12
_STRIP = 12
"""Height of the picture divided by the height of the strip."""
_CONTRAST = 60
"""Grey levels between white and black. Less means that there is no code."""


def read(image: Image) -> int | None:
    """Read the number in uint8 ``[H, W, 3]``. None: there is none, or it is damaged."""
    height, width = image.shape[:2]
    if height < _STRIP * 2 or width < CELLS * 2:
        return None
    row = image[height // _STRIP // 2]
    # Middles of cells, where a codec's blur from the neighbours does not reach.
    centres = ((np.arange(CELLS) + 0.5) * width / CELLS).astype(int)
    levels = row[centres].mean(axis=1)
    white, black = float(levels[0]), float(levels[1])
    if white - black < _CONTRAST:
        return None
    bits = levels > (white + black) / 2
    number = int((bits[2 : 2 + BITS] << np.arange(BITS)).sum())
    whole = bool(bits[0]) and not bits[1] and not bits[-1]
    return number if whole and bits[2 : 2 + BITS].sum() % 2 == bits[2 + BITS] else None


def paint(image: Image, number: int) -> None:
    """Paint ``number`` modulo 4096 into a picture, in place."""
    height, width = image.shape[:2]
    bits = [(number >> i) & 1 for i in range(BITS)]
    cells = [1, 0, *bits, sum(bits) % 2, 0]
    edges = (np.arange(CELLS + 1) * width / CELLS).round().astype(int)
    for on, left, right in zip(cells, edges, edges[1:], strict=False):
        # Video range, so that codecs do not clip the levels.
        image[: height // _STRIP, left:right] = 235 if on else 20
