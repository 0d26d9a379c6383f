"""Average expressions of people, as `engine.models.compact.response` ships them.

A portrait is measured with expressions that people make. Each is the mean of all frames in which
one blendshape has about one strength, so the others have the strengths that go with it. Some join
two such means, one of the upper and one of the lower face.
"""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.stages.neutral import rest_mapped
from mimicam.training.data.expression_filter import Maps, TrackedFrames, displacements

_LANDMARK_WEIGHT = 0.8
"""As in `engine.stages.neutral`, where a driver's displacement is read in the same way."""
_RESTING_QUANTILE, _PLAUSIBLE = 0.2, 2.0
"""As there: quantile that a person rests at, and its largest distance from the average in standard
deviations between people."""
_WIDTH = 0.08
"""Standard deviation of the weight that a frame's blendshape is near the strength."""
EXPRESSIONS: dict[str, dict[str, float]] = {
    "open mouth": {"jawOpen": 0.5},
    "brows up": {"browInnerUp": 0.6},
    "smile, eyes closed": {"mouthSmile": 0.5, "eyeBlink": 0.7},
    "laugh": {"mouthUpperUp": 0.65},
    "pout": {"mouthPucker": 0.8},
    "oh": {"mouthFunnel": 0.3},
    "mouth aside, frown": {"mouthLeft": 0.3, "browDown": 0.7},
}
"""Blendshapes of each expression and their strengths, about those of the clips' strongest hundredth
of frames. A name without side means the mean of both sides."""


def typical_expressions(
    frames: TrackedFrames, maps: Maps, resting: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Average people's expressions; every person counts once.

    Args:
        frames: training people, with mirror pictures, which make the result symmetric.
        maps: maps that displacements are read with.
        resting: what `training.data.resting.resting_statistics` returns.

    Returns:
        ``typical_expression`` ``[K, 52]``: blendshapes, with resting values mapped to the average
        ones. ``typical_displacement`` ``[K, 478, 3]``: as in `engine.stages.neutral.Expression`.
    """
    rest, still = resting["rest_expression"], resting["rest_displacement"].astype(np.float32)
    blendshapes, displaced, weight = _expressions(frames, maps, rest, resting["rest_spread"])
    shapes, moved = [], []
    for parts in EXPRESSIONS.values():
        shape, displacement = rest.astype(np.float64), still.ravel().astype(np.float64)
        for name, strength in parts.items():
            value = blendshapes[:, _columns(name)].mean(axis=1)
            near = weight * np.exp(-0.5 * ((value - strength) / _WIDTH) ** 2)
            near /= near.sum()
            # Upper and lower face move apart from each other, so their distances from rest add up.
            shape, displacement = shape + near @ blendshapes - rest, displacement + near @ displaced
            displacement -= still.ravel()
        shapes.append(shape.clip(0, 1))
        moved.append(displacement.reshape(-1, 3))
    return {
        "typical_expression": np.array(shapes, np.float32),
        "typical_displacement": np.array(moved, np.float16),
    }


def _expressions(
    frames: TrackedFrames, maps: Maps, rest: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return blendshapes and displacements without identity, and a weight for each frame."""
    displaced, blendshapes = displacements(frames, maps), np.empty_like(frames.expression)
    plain = frames.shape - frames.view @ maps.view_bias @ maps.modes
    weight = np.empty(len(displaced))
    for person in np.unique(frames.person):
        rows = np.flatnonzero(frames.person == person)
        low = np.quantile(frames.expression[rows], _RESTING_QUANTILE, axis=0)
        resting = np.clip(low, rest - _PLAUSIBLE * spread, rest + _PLAUSIBLE * spread).clip(0, 1)
        blendshapes[rows] = rest_mapped(frames.expression[rows], resting)
        # The mean remainder is the person's own face; the distance from it is expression too.
        beyond = plain[rows] - displaced[rows]
        beyond = (beyond - beyond.mean(axis=0)).reshape(len(rows), -1, 3)
        beyond[..., 2] = 0
        displaced[rows] += _LANDMARK_WEIGHT * beyond.reshape(len(rows), -1)
        weight[rows] = 1 / len(rows)
    return blendshapes, displaced, weight


def _columns(name: str) -> list[int]:
    names = list(BLENDSHAPE_NAMES)
    sides = [name] if name in names else [name + "Left", name + "Right"]
    return [names.index(side) for side in sides]
