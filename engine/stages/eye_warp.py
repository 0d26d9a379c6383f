"""Move the irises of a finished picture within the opening of the lids.

A generator that warps a portrait leaves its irises where they were between the lids. Here the disc
of the iris shifts as a whole. The white of the eye stretches behind it. Ahead of it, iris and white
move together and vanish behind the corner and the lids, as on an eyeball that turns. So an iris
keeps its texture, its size and the style of a painting, at the result's full size.

Eye coordinates: origin between the eye's corners, u along the line between them (to larger x), v
across it (down), both in half eye widths.
"""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np

from mimicam.engine.maths import smoothstep
from mimicam.engine.types import EyeShift, Float, Image

_REACH_U, _REACH_V = 1.05, 0.75
"""Half eye widths. Extent of the warped rectangle around an eye's origin."""
_LEAST = 0.01
"""Half eye widths. A smaller shift is a tenth of a pixel, and is left out."""
_LID = 0.1
"""Share of the opening's height over which the shift fades at the lids, so that lashes stay in
place. The part of an iris that is nearer to a lid stays behind: with 0.15 instead of 0.1, gain of
the gaze on 20 lively pairs is 0.78 instead of 0.82 (2026-11)."""
_CORNER = 0.12
"""Half eye widths. Width over which the shift fades at the corner that the iris moves to."""
_INSET = 0.06
"""Share of the opening's height that sources keep from the lids: skin is never pulled into an
eye."""
_LIFT_ROOM = 0.3
"""Half eye widths. Least height over which a rise fades above the opening, and height below it."""
_ROOM = 16
"""Pixels to which the sides of buffers are rounded up."""
_NEAREST = 0.15
"""Half eye widths. Least width over which the shift fades towards a corner that the iris nearly
touches."""


class EyeWarp:
    """Warps the eyes of pictures in place. Not thread-safe."""

    def __init__(self, *, left: int, top: int, side: int) -> None:
        """``left``, ``top``, ``side``: the crop's place in the pictures, pixels."""
        self.move_to(left=left, top=top, side=side)
        self._source = np.empty((0, 0, 3), np.uint8)
        self._offsets = np.empty((0, 0, 2), np.float32)

    def move_to(self, *, left: int, top: int, side: int) -> None:
        """Take another crop; buffers are kept."""
        self._left, self._top, self._half = left, top, side / 2

    def __call__(self, picture: Image, eyes: tuple[EyeShift, ...]) -> None:
        """Move the irises of ``picture``, uint8 ``[H, W, 3]``."""
        for eye in eyes:
            if max(abs(eye.shift), abs(eye.rise), abs(eye.drop)) > _LEAST:
                self._warp(picture, eye)

    def _warp(self, picture: Image, eye: EyeShift) -> None:
        rows, columns = self._rectangle(eye, picture.shape)
        if rows.stop - rows.start < 4 or columns.stop - columns.start < 4:
            return  # outside of the picture, or too small to show a gaze
        patch = picture[rows, columns]
        height, width = patch.shape[:2]
        if self._source.shape[0] < height or self._source.shape[1] < width:
            self._grow(height, width)
        source, offsets = self._source[:height, :width], self._offsets[:height, :width]
        np.copyto(source, patch)
        # The shift is smooth: a value for each two by two pixels is enough.
        cv2.resize(self._shift(eye, rows, columns), (width, height), dst=offsets)
        flags = cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
        cv2.remap(source, offsets, None, flags, dst=patch, borderMode=cv2.BORDER_REPLICATE)

    def _grow(self, height: int, width: int) -> None:
        """Make room for a larger patch, with some to spare: an eye's size varies with the head's
        pose."""
        rows, columns = self._source.shape[:2]
        shape = tuple(-(-max(a, b) // _ROOM) * _ROOM for a, b in ((rows, height), (columns, width)))
        self._source = np.empty((*shape, 3), np.uint8)
        self._offsets = np.empty((*shape, 2), np.float32)

    def _rectangle(self, eye: EyeShift, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Rows and columns around an eye, an even number of each, within the picture."""
        x, y = self._pixels(eye)
        reach = self._half * float(np.hypot(eye.axis_x, eye.axis_y)) * max(_REACH_U, _REACH_V)
        tall = self._half * (_REACH_U * abs(eye.axis_y) + _REACH_V * abs(eye.axis_x))
        return _even(y - tall, y + tall, shape[0]), _even(x - reach, x + reach, shape[1])

    def _pixels(self, eye: EyeShift) -> tuple[float, float]:
        """The eye's origin in pixels."""
        return (
            self._left + (eye.x + 1) * self._half - 0.5,
            self._top + (eye.y + 1) * self._half - 0.5,
        )

    def _shift(self, eye: EyeShift, rows: slice, columns: slice) -> Float:
        """Source minus target, pixels, ``[rows / 2, columns / 2, 2]``."""
        centre_x, centre_y = self._pixels(eye)
        dx = (np.arange(columns.start, columns.stop, 2, dtype=np.float32) + 0.5 - centre_x) / self._half
        dy = (np.arange(rows.start, rows.stop, 2, dtype=np.float32) + 0.5 - centre_y)[:, None] / self._half
        scale = eye.axis_x**2 + eye.axis_y**2
        u: Float = ((dx * eye.axis_x + dy * eye.axis_y) / scale).astype(np.float32)
        at_v: Float = ((dy * eye.axis_x - dx * eye.axis_y) / scale).astype(np.float32, copy=False)
        # The lid rises with the iris. What follows works in the picture before that.
        v = at_v - eye.rise * _lift(u, at_v, eye) if eye.rise else at_v
        upper, lower = eye.lids(u)
        inside = np.clip(np.minimum(v - upper, lower - v) / (_LID * np.maximum(lower - upper, 1e-3)), 0, 1)
        aside, across = _shares(u, eye)
        from_u: Float = (u - eye.shift * inside * aside).astype(np.float32)
        moved_v = v - eye.drop * inside * across
        # The opening is lower towards the corners: a source above or below it would be skin.
        upper, lower = eye.lids(from_u)
        inset = _INSET * np.maximum(lower - upper, 0)
        within = np.clip(moved_v, upper + inset, np.maximum(lower - inset, upper + inset))
        from_v = np.where(inside * (aside + across) > 0, within, v)
        du, dv = (from_u - u) * self._half, (from_v - at_v) * self._half
        offsets: Float = np.stack(
            [du * eye.axis_x - dv * eye.axis_y, du * eye.axis_y + dv * eye.axis_x], axis=-1
        )
        return offsets.astype(np.float32, copy=False)


def _shares(u: Float, eye: EyeShift) -> tuple[Float, Float]:
    """Return the shares of the shift and of the drop at a place of the eye."""
    target = eye.iris + eye.shift
    side = np.sign(u - target)
    # The whole disc moves; from its rim on both fall to nothing at the corner on that side.
    corner = np.maximum(1 - side * target - eye.radius, _NEAREST)
    behind = np.clip(1 - (np.abs(u - target) - eye.radius) / corner, 0, 1)
    # Squeezed between iris and corner, the white would be a bright rim.
    ahead = np.clip((1 - np.abs(u)) / _CORNER, 0, 1)
    return np.where(side * eye.shift > 0, ahead, behind), behind


def _lift(u: Float, v: Float, eye: EyeShift) -> Float:
    """Return the share of the rise at a place of the eye.

    It is 1 from the upper lid to the iris. It ends below the brow, under the lower lid and at the
    corners.
    """
    above = smoothstep((v + _REACH_V) / max(_REACH_V + eye.upper, _LIFT_ROOM))
    below = smoothstep((eye.lower + _LIFT_ROOM / 2 - v) / _LIFT_ROOM)
    beside = smoothstep(2 - 2 * np.abs(u))
    share: Float = above * below * beside
    return share


def between(a: tuple[EyeShift, ...], b: tuple[EyeShift, ...], share: float) -> tuple[EyeShift, ...]:
    """Interpolate the eyes of two targets: a share of 0 gives ``a``, 1 gives ``b``."""
    if not a or not b:
        return b
    names = [each.name for each in fields(EyeShift)]
    mixed = (
        {name: (1 - share) * getattr(one, name) + share * getattr(other, name) for name in names}
        for one, other in zip(a, b, strict=True)
    )
    return tuple(EyeShift(**values) for values in mixed)


def _even(low: float, high: float, limit: int) -> slice:
    start = min(max(int(np.floor(low)), 0), limit)
    count = max(min(int(np.ceil(high)), limit) - start, 0)
    return slice(start, start + count // 2 * 2)
