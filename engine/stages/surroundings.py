"""What surrounds a generated face, the same for every frame of a portrait: texture, canvas and mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.engine.types import Float, Image

REACH = 0.35
"""How far beyond the canvas the portrait's pixels are kept, in crop sides: heads move by less."""
FADE = 0.25
"""Within so many crop sides beyond the crop the motion at its edge comes to rest, where the canvas goes on there."""
EDGE = 0.06
"""Width of the border, in crop sides, within which nothing is painted any more, where the canvas goes on beyond it."""
BEYOND = 0.04
"""Within so many crop units outside the crop, what the networks painted in ignorance gives way to the portrait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCanvas:
    """Where the generated face goes, the same for every frame of a portrait."""

    picture: Image
    """What lies around the face, RGB uint8 ``[H, W, 3]``."""
    mask: Float
    """Opacity of the face, 0 to 1, ``[S, S]``."""
    crop_from_image: Float
    """``[2, 3]``: canvas pixels to pixels of the generated face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitTexture:
    """A portrait's pixels as one canvas needs them."""

    texture: Image
    """The canvas with `REACH` around it, uint8 ``[H + 2 m, W + 2 m, 3]``; where the picture ends, its blurred edge."""
    margin: int
    """m"""
    left: int
    """Of the crop on the canvas."""
    top: int
    side: int
    """a"""
    size: tuple[int, int]
    """(width, height) of the canvas."""
    known: tuple[float, float, float, float]
    """Left, top, right and bottom of the picture, crop units."""

    @property
    def canvas(self) -> Image:
        """What is shown while nothing moves, ``[H, W, 3]``, a view."""
        width, height = self.size
        return self.texture[self.margin : self.margin + height, self.margin : self.margin + width]

    def numbers(self) -> Float:
        """The same for a kernel: `kernels.warp_composite.NUMBERS`, float32."""
        width, height = self.size
        scale, half = 2 / self.side, self.side / 2
        row = (
            scale, (0.5 - self.left) * scale - 1, scale, (0.5 - self.top) * scale - 1,
            half, half - 0.5 + self.left + self.margin, half - 0.5 + self.top + self.margin, *self.known,
            0.5 / FADE, 0.5 / EDGE * (width > self.side), 0.5 / EDGE * (height > self.side), 1 / BEYOND,
        )  # fmt: skip
        return np.array(row, np.float32)
