"""Visible badges of results: the word “synthetic”, or a picture such as an official icon."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.picture_header import header_size
from mimicam.engine.types import Image

Corner = Literal["bottom-right", "bottom-left", "top-left", "top-right", "off"]
_TEXT = "synthetic"
_PLATE_SHARE = 0.45
"""Share of the picture that is seen below the word's plate, so that the letters are legible on any
picture."""
_PICTURE_SHARE = 0.1
"""Height of a badge's picture, as a share of the result's shorter side."""
_PICTURE_MIN_PX, _PICTURE_MAX_PX, _PICTURE_BYTES_MAX = 16, 4096, 20_000_000


class Badge:
    """Draws a badge into results, in place. It is rendered once per size."""

    def __init__(self, picture: Image | None = None) -> None:
        """Choose what is shown.

        Args:
            picture: RGB and opacity, uint8 ``[H, W, 4]``. None is the word “synthetic” on a dark
                plate.
        """
        self._picture = picture
        self._size = (0, 0)
        self._colour = np.zeros((0, 0, 3), np.uint8)
        self._under = np.zeros((0, 0, 1), np.float32)

    def __call__(self, image: Image, where: Corner) -> None:
        """Draw into a corner of uint8 ``[H, W, 3]``, or not at all."""
        if where == "off":
            return
        region = image[self.window(image, where)]
        if self._picture is None:
            # The sum saturates at white, so letters stay white over any picture.
            np.copyto(region, cv2.addWeighted(region, _PLATE_SHARE, self._colour, 1.0, 0.0))
        else:
            np.copyto(region, np.rint(region * self._under + self._colour), casting="unsafe")

    def window(self, image: Image, where: Corner) -> tuple[slice, slice]:
        """Return the rows and columns that the badge covers in a corner; it is not ``off``."""
        side = min(image.shape[:2])
        if image.shape[:2] != self._size:
            self._size = image.shape[:2]
            self._render(side, image.shape[1])
        # After rendering, which sets the size of the badge.
        height, width = self._colour.shape[:2]
        margin = max(2, side // 40)
        top = margin if where.startswith("top") else image.shape[0] - margin - height
        left = margin if where.endswith("left") else image.shape[1] - margin - width
        return slice(top, top + height), slice(left, left + width)

    def _render(self, side: int, width: int) -> None:
        if self._picture is None:
            self._colour = _draw_word(side)
            return
        height, across = self._picture.shape[:2]
        scale = max(_PICTURE_MIN_PX, _PICTURE_SHARE * side) / height
        # At most half of the result either way, whatever the shape of the badge.
        scale = min(scale, side / 2 / height, width / 2 / across)
        size = max(1, round(across * scale)), max(1, round(height * scale))
        opacity = self._picture[..., 3:].astype(np.float32) / 255
        # Colours times opacity, so that what is transparent does not bleed into the edges.
        both = np.dstack([self._picture[..., :3] * opacity, opacity])
        small = cv2.resize(both, size, interpolation=cv2.INTER_AREA)
        self._colour, self._under = small[..., :3], 1 - small[..., 3:]


class CornerBadge:
    """A badge in one corner of every frame."""

    def __init__(self, corner: Corner, badge: Badge) -> None:
        self._corner, self._badge = corner, badge

    def __call__(self, image: Image) -> None:
        """Draw into uint8 ``[H, W, 3]``."""
        self._badge(image, self._corner)

    def window(self, image: Image) -> tuple[slice, slice]:
        """Return the rows and columns that it covers."""
        return self._badge.window(image, self._corner)


def corner_badge(corner: Corner, picture: Path | None = None) -> CornerBadge | None:
    """Make the badge of a result; None where it is off.

    Args:
        corner: where it is.
        picture: PNG or WebP, best with transparency. None shows the word “synthetic”.

    Raises:
        EngineError: the picture cannot be read, or there is no corner for it.
    """
    if corner == "off":
        if picture is not None:
            raise EngineError("a badge's picture needs a corner: add --badge bottom-right, or another")
        return None
    return CornerBadge(corner, Badge(None if picture is None else _read(picture)))


def _read(path: Path) -> Image:
    try:
        if path.stat().st_size > _PICTURE_BYTES_MAX:
            raise EngineError(f"{path} is too large for a badge: give a small PNG")
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): give a PNG or WebP") from error
    # Before decoding: a small file can unfold into gigabytes.
    size = header_size(data)
    decoded = None
    if min(size) > 0 and max(size) <= _PICTURE_MAX_PX:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint8:
        raise EngineError(
            f"{path} is no picture for a badge: give a PNG or WebP of at most {_PICTURE_MAX_PX} pixels a side"
        )
    return _with_opacity(decoded)


def _with_opacity(decoded: np.ndarray) -> Image:
    """Return RGB and opacity of what OpenCV decoded: grey, BGR or BGRA."""
    if decoded.ndim == 2:
        return cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGBA)
    if decoded.shape[2] == 4:
        return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGBA)


def _draw_word(side: int) -> Image:
    """Render white letters on a nearly black plate."""
    scale = max(0.32, side / 900)
    (width, height), baseline = cv2.getTextSize(_TEXT, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    pad = max(3, height // 2)
    mark = np.full((height + baseline + 2 * pad - baseline // 2, width + 2 * pad, 3), 8, np.uint8)
    where = (pad, pad + height)
    cv2.putText(mark, _TEXT, where, cv2.FONT_HERSHEY_SIMPLEX, scale, (232, 232, 232), 1, cv2.LINE_AA)
    return mark
