"""Pixels around a generated face, constant for a portrait: texture, canvas and mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.engine.types import Float, Image

REACH = 0.35
"""Crop sides. Margin of portrait pixels kept around the canvas; heads move by less."""
FADE = 0.25
"""Crop sides. Distance beyond the crop over which the motion at its edge fades to rest, where the
canvas continues."""
EDGE = 0.06
"""Crop sides. Width of the ramp inside the crop's edge from inpainted to portrait pixels, where the
canvas continues."""
BEYOND = 0.04
"""Crop units. Width of the ramp from inpainted to portrait pixels outside the crop, where the
generator never saw the portrait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCanvas:
    """Canvas that the generated face is pasted on, the same for every frame of a portrait."""

    picture: Image
    """Pixels around the face, RGB uint8 ``[H, W, 3]``."""
    mask: Float
    """Opacity of the face, 0 to 1, ``[S, S]``."""
    crop_from_image: Float
    """``[2, 3]``: canvas pixels to pixels of the generated face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitTexture:
    """A portrait's pixels as one canvas needs them."""

    texture: Image
    """Pixels that move, RGBA uint8 ``[H + 2 m, W + 2 m, 4]``, premultiplied: the person on the
    canvas with `REACH` around it. Without a matte the whole picture, opaque."""
    canvas: Image
    """Result while nothing moves, ``[H, W, 3]``. Beyond the picture's end, its blurred edge
    continues."""
    background: Image | None
    """Picture that stays still behind the person, ``[H, W, 3]``. None: everything moves."""
    margin: int
    """Width m of the margin, pixels."""
    left: int
    """Left edge of the crop on the canvas, pixels."""
    top: int
    """Top edge of the crop on the canvas, pixels."""
    side: int
    """Side a of the crop on the canvas, pixels."""
    size: tuple[int, int]
    """(width, height) of the canvas."""
    known: tuple[float, float, float, float]
    """Left, top, right and bottom of the picture, crop units."""

    def numbers(self) -> Float:
        """Return the geometry for a kernel, float32, in the order of
        `kernels.warp_composite.NUMBERS`."""
        width, height = self.size
        scale, half = 2 / self.side, self.side / 2
        # Scale and offset in x and y, from canvas pixels to crop units and on to texture pixels.
        # A crop side is 2 units, hence 0.5 in the inverse widths of the ramps at the end.
        row = (
            scale, (0.5 - self.left) * scale - 1, scale, (0.5 - self.top) * scale - 1,
            half, half - 0.5 + self.left + self.margin, half - 0.5 + self.top + self.margin, *self.known,
            0.5 / FADE, 0.5 / EDGE * (width > self.side), 0.5 / EDGE * (height > self.side), 1 / BEYOND,
        )  # fmt: skip
        return np.array(row, np.float32)
