"""Split a portrait's pixels into a person that moves and a background that stays still.

Colours of the person are premultiplied by their opacity (Porter and Duff, SIGGRAPH 1984), so that a
result is ``person + (1 - opacity) * background`` and interpolation mixes no background into hair.
"""

from __future__ import annotations

import cv2
import numpy as np

from mimicam.engine.types import Float, Image

_INPAINT_PX = 224
"""Longest side at which the hidden background is inpainted: it is smooth."""
_BLEED = 0.1
"""Crop sides beside a head that is cut off, above the picture's top, which the blur of the top edge
reaches (`engine.stages.composite`)."""
_GROW = 0.014
"""Distance around the person that is inpainted too, in crop sides: hair is wider than it is found
to be, and what is left of it would stay as an outline."""
_LEAST_GROW_PX = 2
_DIFFERENT = 40.0
"""Grey levels, over three channels, between person and background below which a fringe fades."""
_SURE = 240
"""Opacity from which a pixel shows the person alone."""
_CAP = 0.6
"""Largest height of the cap on a head that the picture's top cuts off, in half widths of the
cut."""
_LEAN_SHARE, _MOST_LEAN = 0.1, 4.0
"""Widths of the cut below which the outline's lean is measured, and its limit, pixels per row."""
_MIRRORED = 0.4
"""Rows below the cut per row of the cap."""


def split(picture: Image, matte: Image, *, top: int, side: int) -> tuple[Image, Image, Image]:
    """Return picture, person and background.

    At rest person over background is the picture, exactly (see `PersonOverBackground`).

    Args:
        picture: ``[H, W, 3]``; beyond the portrait's ends its edge continues.
        matte: opacity of the person, uint8 ``[H, W]``; its edge continues likewise.
        top: first row that the portrait shows.
        side: side of the crop in these pixels.

    Returns:
        The picture, where a cut-off head ends in a rounded cap; the person, RGBA premultiplied
        ``[H, W, 4]``; the background without it.
    """
    grow = max(round(_GROW * side), _LEAST_GROW_PX)
    hidden = _hidden(matte, grow, top, side)
    filled = _inpainted(picture, hidden, grow)
    capped = _capped(matte, top)
    picture = _without_streaks(picture, capped, filled, hidden, top)
    opacity = np.maximum(capped, _fringe(picture, capped, filled, grow))
    background = _background(picture, opacity, capped, filled, grow)
    person = cv2.subtract(picture, _shine_through(background, opacity))
    return picture, np.dstack([person, opacity]), background


def _shine_through(background: Image, opacity: Image) -> Image:
    """Return ``(1 - opacity) * background``, rounded as in `PersonOverBackground`."""
    hidden = cv2.cvtColor(cv2.bitwise_not(opacity), cv2.COLOR_GRAY2RGB)
    return cv2.multiply(background, hidden, scale=1 / 255)


class PersonOverBackground:
    """Lays a warped person over the background of one canvas, frame by frame."""

    def __init__(self, texture: Image, background: Image, margin: int) -> None:
        """Allocate the buffers; see `engine.stages.surroundings.PortraitTexture`."""
        height, width = background.shape[:2]
        self._background = background
        self._still = np.ascontiguousarray(texture[margin : margin + height, margin : margin + width, 3])
        self.opacity = self._still.copy()
        """Opacity of the person in this frame, uint8 ``[H, W]``."""
        self._hidden = np.empty_like(self._still)
        self._hidden_rgb, self._under = np.empty_like(background), np.empty_like(background)

    def reset(self) -> None:
        """Start a frame in which nothing moves yet."""
        np.copyto(self.opacity, self._still)

    def __call__(self, moved: Image, window: tuple[slice, slice], out: Image) -> None:
        """Add the background to the person's colours.

        Args:
            moved: the warped person in the window, RGBA premultiplied.
            window: rows and columns of the canvas.
            out: canvas whose window holds the person's colours; receives the result there.
        """
        opacity = cv2.extractChannel(moved, 3, dst=self.opacity[window])
        hidden = cv2.bitwise_not(opacity, dst=self._hidden[window])
        part = _filled(hidden)
        if part is None:
            return
        wide = cv2.cvtColor(hidden[part], cv2.COLOR_GRAY2RGB, dst=self._hidden_rgb[window][part])
        under = self._under[window][part]
        cv2.multiply(self._background[window][part], wide, dst=under, scale=1 / 255)
        cv2.add(out[window][part], under, dst=out[window][part])


def _filled(values: Image) -> tuple[slice, slice] | None:
    """Return the least rows and columns that hold all values above 0; None: all are 0."""
    x, y, width, height = cv2.boundingRect(values)
    return (slice(y, y + height), slice(x, x + width)) if width else None


def _hidden(matte: Image, grow: int, top: int, side: int) -> Image:
    """Return what the background has to be made up for, 0 or 255: the person and a rim around it.

    Above the picture's top the blur of its edge spreads the person's colours, so the rim is wider.
    """
    person = cv2.compare(matte, 0, cv2.CMP_GT)
    hidden = cv2.dilate(person, _disc(grow))
    if top > 0 and person[0].any():
        reach = 2 * max(round(_BLEED * side), 1) + 1
        hidden[:top] = cv2.dilate(person[:top], np.ones((1, reach), np.uint8))
    return hidden


def _inpainted(picture: Image, hidden: Image, grow: int) -> Image:
    """Return the picture with what is hidden inpainted."""
    height, width = hidden.shape
    if not hidden.any() or hidden.all():
        return picture
    scale = min(1.0, _INPAINT_PX / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    coarse = cv2.compare(cv2.resize(hidden, size, interpolation=cv2.INTER_AREA), 0, cv2.CMP_EQ)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    filled = np.clip(_filled_in(small, coarse.astype(np.float32) / 255), 0, 255).astype(np.uint8)
    wide = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    share = cv2.blur(hidden, (2 * grow + 1,) * 2).astype(np.float32) / 255
    share[hidden == 0] = 0.0
    return cv2.blendLinear(wide, picture, share, 1 - share)


def _filled_in(colours: Float, known: Float) -> Float:
    """Fill unknown pixels from known ones around them, coarse to fine, ``[H, W, 3]``.

    Pull-push interpolation (Gortler et al., "The Lumigraph", SIGGRAPH 1996) has no seam where
    fronts from both sides of a person would meet.
    """
    return _pull_push(colours * known[..., None], known)


def _pull_push(premultiplied: Float, weight: Float) -> Float:
    height, width = weight.shape
    if min(height, width) > 1 and weight.min() < 1:
        share = cv2.pyrDown(weight)
        # A coarse pixel counts in full once a quarter of it is known.
        gain = np.minimum(1 / np.maximum(share, 1e-6), 4.0)
        coarse = _pull_push(cv2.pyrDown(premultiplied) * gain[..., None], share * gain)
        under = cv2.pyrUp(coarse, dstsize=(width, height))
    else:
        under = np.full_like(premultiplied, premultiplied.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6))
    return premultiplied + (1 - weight[..., None]) * under


def _person_colours(picture: Image, matte: Image, grow: int) -> Float:
    """Return the colours of the person's rim, continued outwards, float32 ``[H, W, 3]``."""
    inner = (matte > _SURE).astype(np.float32)
    kernel = (4 * grow + 1,) * 2
    weight = cv2.blur(inner, kernel)[..., None]
    return cv2.blur(picture * inner[..., None], kernel) / np.maximum(weight, 1e-3)


def _fringe(picture: Image, matte: Image, filled: Image, grow: int) -> Image:
    """Return the opacity of what the matte left of the person around it, uint8 ``[H, W]``.

    Hair's last pixels are as much person as their colour lies between background and person, and
    less the further out they are. Background that only resembles the person stays in its place.
    """
    away = cv2.distanceTransform(cv2.compare(matte, 0, cv2.CMP_EQ), cv2.DIST_L2, 3)
    near = (matte < 255) & (away <= grow)
    most = 1 - np.maximum(away[near] - 0.5, 0) ** 2 / grow**2
    under = filled[near].astype(np.float32)
    towards = _person_colours(picture, matte, grow)[near] - under
    length = (towards**2).sum(axis=1)
    share = ((picture[near] - under) * towards).sum(axis=1) / np.maximum(length, _DIFFERENT**2)
    fringe = np.zeros_like(matte)
    fringe[near] = (255 * np.clip(share, 0.0, most)).round()
    return fringe


def _background(picture: Image, opacity: Image, matte: Image, filled: Image, grow: int) -> Image:
    """Return the background: the picture without the person's share of each pixel."""
    background = np.where(opacity[..., None] > 0, filled, picture)
    soft = (opacity > 0) & (opacity < 255)
    share, shown = opacity[soft][:, None] / np.float32(255), picture[soft].astype(np.float32)
    # What the person's colour leaves of a pixel, the less surely the more of it is person.
    rest = (shown - share * _person_colours(picture, matte, grow)[soft]) / (1 - share)
    wanted = filled[soft] + (1 - share) * (np.clip(rest, 0, 255) - filled[soft])
    wanted = np.where(matte[soft][:, None] > 0, filled[soft], wanted)
    # Colours of the person in 0..255 that make up the picture exist only between these two.
    darkest, lightest = (shown - 255 * share) / (1 - share), shown / (1 - share)
    background[soft] = np.floor(np.clip(np.clip(wanted, darkest, lightest), 0, 255)).astype(np.uint8)
    return background


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)


def _cap_heights(matte: Image, top: int) -> Float:
    """Return the height of the cap above each pixel of the picture's top row, pixels, ``[W]``.

    Each piece of person that the top cuts off ends in the arc of the circle that continues its
    outline.
    """
    height = np.zeros(matte.shape[1], np.float32)
    for first, last in _runs(matte[top]):
        half = (last - first) / 2
        lean = _lean(matte, top, first, last)
        # The circle's centre lies below the cut if the outline leans inwards.
        radius, below = half * np.hypot(1.0, lean), half * lean
        away = np.arange(first, last) + 0.5 - first - half
        arc = np.sqrt(radius**2 - away**2) - below
        height[first:last] = arc * min(1.0, _CAP * half / (radius - below))
    return height


def _lean(matte: Image, top: int, first: int, last: int) -> float:
    """Return by how many pixels a side the piece of person widens per row below the cut."""
    rows = max(round(_LEAN_SHARE * (last - first)), 1)
    below = min(top + rows, len(matte) - 1)
    reach = [run for run in _runs(matte[below]) if run[0] < last and run[1] > first]
    if below == top or not reach:
        return 0.0
    wider = (max(run[1] for run in reach) - min(run[0] for run in reach)) - (last - first)
    return float(np.clip(wider / 2 / (below - top), 0.0, _MOST_LEAN))


def _runs(row: Image) -> np.ndarray:
    """Return the start and the end of each piece of person in a row, int ``[N, 2]``."""
    person = np.pad((row > 127).astype(np.int8), 1)
    return np.flatnonzero(np.diff(person)).reshape(-1, 2)


def _capped(matte: Image, top: int) -> Image:
    """Round off the head above the picture's top, where the matte's edge would continue for
    ever."""
    if top <= 0:
        return matte
    height = _cap_heights(matte, top)
    above = np.arange(top, 0, -1, dtype=np.float32)[:, None] - 0.5
    # A soft edge a few pixels wide.
    share = np.clip((height[None] - above) / (2 + 0.1 * height[None]) + 0.5, 0.0, 1.0)
    out = matte.copy()
    out[:top] = (matte[:top] * share).round()
    return out


def _without_streaks(picture: Image, capped: Image, background: Image, hidden: Image, top: int) -> Image:
    """Show what is above the picture's top: hair in the cap, the background around it."""
    if not hidden[:top].any():
        return picture
    out = picture.copy()
    # The rows below the cut, mirrored: the cap has the hair's own texture. They are stretched, so
    # that a cut through the forehead mirrors no brows.
    rows = np.minimum(top + (np.arange(top, 0, -1) * _MIRRORED).astype(int), len(picture) - 1)
    share = capped[:top].astype(np.float32) / 255
    above = cv2.blendLinear(picture[rows], background[:top], share, 1 - share)
    np.copyto(out[:top], above, where=hidden[:top, :, None] > 0)
    return out
