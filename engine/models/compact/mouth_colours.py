"""Colours of teeth and gums in a portrait's light, from its own teeth or else from its skin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.engine.types import Float, Image

TEETH = np.array([0.58, 0.50, 0.40])
GUMS = np.array([0.26, 0.055, 0.05])
"""Linear RGB of teeth and of gums under white light."""
_SKIN_TINT = np.array([1.35, 0.92, 0.73])
"""Average tint of skin: linear RGB divided by its mean."""
_SEEN = 0.9
"""Mask value from which a pixel inside the lips counts; nearer to their edge it is in shadow."""
_LEAST_PIXELS = 25
"""Number of such pixels from which the portrait's own teeth are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthColours:
    """Linear RGB ``[3]`` of teeth and of gums."""

    teeth: npt.NDArray[np.float64]
    gums: npt.NDArray[np.float64]


WHITE_LIGHT = MouthColours(teeth=TEETH, gums=GUMS)


def mouth_colours(portrait: Image, landmarks_px: Float, inside: Float) -> MouthColours:
    """Return the mouth's colours in a portrait's light.

    Args:
        portrait: uint8 ``[H, W, 3]``.
        landmarks_px: ``[478, 2 or more]`` on it.
        inside: ``[H, W]`` in 0..1, the inside of its lips.
    """
    light = light_on(bright_skin(portrait, landmarks_px))
    return MouthColours(teeth=teeth_colour(portrait, inside, light), gums=GUMS * light)


def bright_skin(portrait: Image, landmarks_px: Float) -> npt.NDArray[np.float64]:
    """Return the mean of the brighter quarter of the face, linear RGB ``[3]``."""
    hull = cv2.convexHull(np.ascontiguousarray(landmarks_px[:468, :2], np.float32))
    face = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, hull.round().astype(np.int32), (1,))
    pixels = linear(portrait[face > 0])
    if not len(pixels):
        return np.full(3, 0.45)
    return np.asarray(pixels[pixels.mean(1) >= np.percentile(pixels.mean(1), 75)].mean(0))


def light_on(bright: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the illuminant, linear RGB ``[3]``.

    Treats the bright skin as a 45 % grey card, after removing half of the average skin tint.
    """
    level = float(np.clip(bright.mean() / 0.45, 0.15, 1.0))
    # The square root attributes half of the remaining tint to the light, half to the skin.
    tint = np.sqrt(np.maximum(bright, 1e-4) / max(bright.mean(), 1e-4) / _SKIN_TINT)
    return np.asarray(level * tint / tint.mean())


def teeth_colour(portrait: Image, inside: Float, light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the colour of the visible teeth, else of usual teeth in this light.

    The brightest fifth of the visible pixels decides, if they are enough and bright enough.
    """
    usual = TEETH * light
    visible = linear(portrait[inside > _SEEN])
    if len(visible) < _LEAST_PIXELS:
        return usual
    bright = visible[visible.mean(1) >= np.percentile(visible.mean(1), 80)].mean(0)
    # Darker pixels are the cavity, not teeth.
    return np.asarray(bright if bright.mean() > 0.5 * usual.mean() else usual)


def linear(srgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert sRGB 0..255 to linear 0..1, with gamma 2.2."""
    return np.asarray((np.asarray(srgb, np.float64) / 255.0) ** 2.2)
