"""Compute the average resting face, and how people differ from it, as `engine.stages.neutral` ships
them."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.data.expression_filter import Maps, TrackedFrames, displacements

_QUANTILE = 0.2
"""Share of the time that people rest, at least. `engine.stages.neutral` takes the same quantile of
a driver."""
_LEAST_FRAMES = 25
"""Frames of the shortest clip that is used: two seconds. A shorter one may hold no rest."""
_MOVING = [
    list(BLENDSHAPE_NAMES).index(name)
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
                 "mouthPucker", "mouthFunnel")
]  # fmt: skip


def resting_statistics(frames: TrackedFrames, maps: Maps) -> dict[str, np.ndarray]:
    """Average people's resting values; every person counts once.

    Args:
        frames: training people, with mirror pictures, which make the result symmetric.
        maps: maps that displacements are read with.

    Returns:
        ``rest_expression`` ``[52]``: the median.
        ``rest_spread`` ``[52]``: half the distance between the 16th and the 84th percentile.
        ``rest_displacement`` ``[478, 3]``: the mean over the calm frames.
    """
    read = displacements(frames, maps)
    # Expressive frames cost, and so do turned ones, where the tracker reads expressions less well.
    cost = (
        frames.expression[:, _MOVING].sum(axis=1) + 2 * np.abs(frames.view[:, 0]) + np.abs(frames.view[:, 1])
    )
    # One value per person, so that long clips do not count more.
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
