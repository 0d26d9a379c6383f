"""Regions of a face: which blendshapes and landmarks belong to eyes, brows, mouth and jaw.

Each has a control of its own, such as ``eyes_gain`` (`engine.controls`), and a strength in
``mimicam edit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import BLENDSHAPES, LANDMARKS, EditSettings, Float

REGIONS = {"eyes": ("eye",), "brows": ("brow",), "mouth": ("mouth", "cheek", "nose"), "jaw": ("jaw",)}
"""First word of the blendshapes of each region."""


@cache
def blendshape_weights(region: str) -> Float:
    """Return 1 for each blendshape of a region, 0 for the others, ``[52]``."""
    return np.array([name.startswith(REGIONS[region]) for name in BLENDSHAPE_NAMES], np.float32)


@cache
def landmark_weights(region: str) -> Float:
    """Return the share of a region in each landmark's motion, ``[478, 1]``.

    The shares of all regions sum to 1. A landmark belongs to the regions whose blendshapes move it.
    """
    # By energy: a landmark belongs to regions as strongly as their blendshapes move it.
    square = (face_geometry().shape_from_expression ** 2).sum(axis=-1)
    energy = {name: blendshape_weights(name) @ square for name in REGIONS}
    # Landmarks that nothing moves would divide by zero.
    total = np.maximum(sum(energy.values(), np.zeros(LANDMARKS, np.float32)), 1e-9)
    return (energy[region] / total).astype(np.float32)[:, None]


def spread(strengths: Mapping[str, float]) -> tuple[Float, Float]:
    """Return the strength of each blendshape ``[52]`` and landmark ``[478, 1]``; 1 by default."""
    shapes, landmarks = np.ones(BLENDSHAPES, np.float32), np.ones((LANDMARKS, 1), np.float32)
    for region, strength in strengths.items():
        change = np.float32(strength - 1.0)
        shapes += change * blendshape_weights(region)
        landmarks += change * landmark_weights(region)
    return shapes, landmarks


def region_gains(settings: EditSettings) -> dict[str, float]:
    """Return the gain of each region."""
    return {name: getattr(settings, f"{name}_gain") for name in REGIONS}


@lru_cache(maxsize=16)
def expression_gains(settings: EditSettings) -> tuple[Float, Float]:
    """Return the gain of each blendshape ``[52]`` and landmark ``[478, 1]``: see `spread`.

    They are those of the regions times that of the whole expression. The arrays are shared.
    """
    shapes, landmarks = spread(region_gains(settings))
    gain = np.float32(settings.expression_gain)
    return shapes * gain, landmarks * gain
