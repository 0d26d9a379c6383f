"""The average resting face, and how people differ from it, as ``engine.stages.neutral`` ships them."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.data.reading import Maps, Readings, displacements

_QUANTILE = 0.2
"""People rest a fifth of the time at least; `engine.stages.neutral` takes the same quantile of a driver."""
_LEAST_FRAMES = 25
"""Two seconds of a pack. A shorter clip may hold no rest."""
_MOVING = [
    list(BLENDSHAPE_NAMES).index(name)
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
                 "mouthPucker", "mouthFunnel")
]  # fmt: skip


def resting_statistics(frames: Readings, maps: Maps) -> dict[str, np.ndarray]:
    """Average people's resting values; every person counts once.

    Args:
        frames: of training people, each beside its mirror picture, so that the result is symmetric.
        maps: how displacements are read.

    Returns:
        ``rest_expression`` ``[52]``, the median; ``rest_spread`` ``[52]``, half of what lies between the 16th and the 84th
        percentile; ``rest_displacement`` ``[478, 3]``, the mean of people's calm frames.
    """
    read = displacements(frames, maps)
    cost = (
        frames.expression[:, _MOVING].sum(axis=1) + 2 * np.abs(frames.view[:, 0]) + np.abs(frames.view[:, 1])
    )
    low, calm = [], []
    for person in np.unique(frames.person):
        rows = np.flatnonzero(frames.person == person)
        if len(rows) < _LEAST_FRAMES:
            continue
        low.append(np.quantile(frames.expression[rows], _QUANTILE, axis=0))
        calm.append(read[rows[np.argsort(cost[rows])[: int(_QUANTILE * len(rows))]]].mean(axis=0))
    below, middle, above = np.quantile(low, (0.16, 0.5, 0.84), axis=0)
    return {
        "rest_expression": middle.astype(np.float32),
        "rest_spread": ((above - below) / 2).astype(np.float32),
        "rest_displacement": np.mean(calm, axis=0).reshape(-1, 3).astype(np.float16),
    }
