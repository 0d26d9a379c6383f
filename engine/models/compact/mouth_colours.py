"""What colour teeth and gums have in a portrait's light: read off its own teeth, or else off its skin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.engine.types import Float, Image

TEETH = np.array([0.58, 0.50, 0.40])
GUMS = np.array([0.26, 0.055, 0.05])
"""Linear, under white light."""
_SKIN_TINT = np.array([1.35, 0.92, 0.73])
_SEEN = 0.9
"""Of the inside of the lips; what is nearer to their edge is in shadow."""
_LEAST_PIXELS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthColours:
    """Linear, ``[3]`` each."""

    teeth: npt.NDArray[np.float64]
    gums: npt.NDArray[np.float64]


WHITE_LIGHT = MouthColours(teeth=TEETH, gums=GUMS)


def mouth_colours(portrait: Image, landmarks_px: Float, inside: Float) -> MouthColours:
    """Of a portrait.

    Args:
        portrait: uint8 ``[H, W, 3]``.
        landmarks_px: ``[478, 2 or more]`` on it.
        inside: ``[H, W]`` in 0..1, the inside of its lips.
    """
    light = light_on(bright_skin(portrait, landmarks_px))
    return MouthColours(teeth=teeth_colour(portrait, inside, light), gums=GUMS * light)


def bright_skin(portrait: Image, landmarks_px: Float) -> npt.NDArray[np.float64]:
    """``[3]`` linear: the mean of the brighter quarter of the face."""
    hull = cv2.convexHull(np.ascontiguousarray(landmarks_px[:468, :2], np.float32))
    face = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, hull.round().astype(np.int32), (1,))
    pixels = linear(portrait[face > 0])
    if not len(pixels):
        return np.full(3, 0.45)
    return np.asarray(pixels[pixels.mean(1) >= np.percentile(pixels.mean(1), 75)].mean(0))


def light_on(bright: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``[3]``: as if bright skin were a card of 45 % whose usual colour is half taken away."""
    level = float(np.clip(bright.mean() / 0.45, 0.15, 1.0))
    tint = np.sqrt(np.maximum(bright, 1e-4) / max(bright.mean(), 1e-4) / _SKIN_TINT)
    return np.asarray(level * tint / tint.mean())


def teeth_colour(portrait: Image, inside: Float, light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The brightest of what the mouth shows, where it shows enough; else usual teeth in this light."""
    usual = TEETH * light
    shown = linear(portrait[inside > _SEEN])
    if len(shown) < _LEAST_PIXELS:
        return usual
    bright = shown[shown.mean(1) >= np.percentile(shown.mean(1), 80)].mean(0)
    return np.asarray(bright if bright.mean() > 0.5 * usual.mean() else usual)


def linear(srgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Of 0..255 to 0..1."""
    return np.asarray((np.asarray(srgb, np.float64) / 255.0) ** 2.2)
