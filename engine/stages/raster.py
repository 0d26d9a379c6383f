"""Outlines in crop space to soft maps: drawn at twice the size in sixteenths of a pixel, then averaged."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import Float

SHIFT = 4
"""Binary digits of a drawn point's fraction; give it to OpenCV's functions."""
_SUPERSAMPLE = 2
"""A closed mouth is a line one pixel wide to the rasteriser: this makes it faint."""


def blank(size_px: int) -> np.ndarray:
    """What the outlines of a map of ``size_px`` are drawn on, in 255."""
    return np.zeros((size_px * _SUPERSAMPLE,) * 2, np.uint8)


def outline_points(places: Float, size_px: int) -> np.ndarray:
    """Crop-space ``[..., 2 or more]`` to int32 ``[..., 2]`` for drawing; what lies far outside is drawn nearer, outside."""
    fine = size_px * _SUPERSAMPLE
    points = ((places[..., :2] + 1) * (fine / 2) - 0.5) * (1 << SHIFT)
    found: np.ndarray = np.clip(points, -(1 << 20), 1 << 20).round().astype(np.int32)
    return found


def averaged(canvas: np.ndarray, size_px: int) -> Float:
    """The map, ``[size, size]`` in 0..1."""
    return cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
