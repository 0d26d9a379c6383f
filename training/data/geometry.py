"""Functions for the face statistics that `engine.face.geometry` ships; see
`training.data.statistics`."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.geometry import RIGID, fit_similarity
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES

_SIDES = ((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (54, 284), (129, 358))
"""Pairs of landmarks on the person's right and left side."""


def pose_rows(same_pose_group: np.ndarray) -> np.ndarray:
    """Return the row whose head pose each frame takes, int ``[N]``: the first of its group (see
    `training.data.pack`).

    The tracker's pose depends a little on the expression. Where the pose is equal by construction,
    one is used for all.
    """
    _, first, group = np.unique(same_pose_group, return_index=True, return_inverse=True)
    rows: np.ndarray = first[group.reshape(-1)]
    return rows


def mean_face(landmarks: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Compute the generalised Procrustes mean of ``[N, 478, 3]`` under similarities of the rigid
    points, made symmetric.

    Gower, "Generalized Procrustes analysis", Psychometrika 1975.
    """
    # Any face can start the iteration; five rounds converge.
    mean = _normalised(landmarks[0])
    for _ in range(rounds):
        mean = _normalised(canonical_shapes(landmarks, mean).mean(axis=0))
    mean = _normalised(_upright(mean))
    flipped = mean * np.array([-1, 1, 1])
    return _normalised((mean + flipped[mirror_map(mean)]) / 2).astype(np.float32)


def _upright(mean: np.ndarray) -> np.ndarray:
    """Turn so that x runs from the right eye to the left and y from the forehead (10) to the chin
    (152)."""
    x = sum(mean[left] - mean[right] for right, left in _SIDES)
    x = x / np.linalg.norm(x)
    y = mean[152] - mean[10]
    # Orthogonalise: a face seen from the side has its chin off the middle.
    y = y - (y @ x) * x
    y = y / np.linalg.norm(y)
    turned = mean @ np.stack([x, y, np.cross(x, y)], axis=1)
    middle = np.mean([(turned[a, 0] + turned[b, 0]) / 2 for a, b in _SIDES])
    turned[:, 0] -= middle
    return turned


def canonical_shapes(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Fit each shape to the mean face by its rigid points, ``[N, 478, 3]``."""
    rotation, scale, centre = fit_similarity(mean[RIGID], landmarks[:, RIGID])
    return (landmarks - centre[:, None]) @ rotation / scale[:, None, None]


def mirror_map(mean: np.ndarray) -> np.ndarray:
    """Return, for each landmark, the one nearest to its mirror picture."""
    flipped = mean * np.array([-1, 1, 1])
    distance = ((flipped[:, None] - mean[None]) ** 2).sum(axis=-1)
    return distance.argmin(axis=1)


def regress_shape(
    shapes: np.ndarray, expressions: np.ndarray, group: np.ndarray, ridge: float = 3.0
) -> np.ndarray:
    """Regress canonical shape on blendshapes within people, ``[52, 478, 3]``.

    Both are centred per group (a clip segment), which removes identity.
    """
    x, y = expressions.astype(np.float64).copy(), shapes.reshape(len(shapes), -1).astype(np.float64)
    x[:, 0] = 0.0  # MediaPipe's "neutral" is not a shape
    for g in np.unique(group):
        rows = group == g
        x[rows] -= x[rows].mean(axis=0)
        y[rows] -= y[rows].mean(axis=0)
    # The ridge keeps blendshapes that hardly occur from getting arbitrary shapes.
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return weights.reshape(x.shape[1], -1, 3).astype(np.float32)


def symmetrise(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Average the regression with its mirror picture: both sides of a face move alike."""
    names = list(BLENDSHAPE_NAMES)
    other = [names.index(_swap_side(name)) for name in names]
    return (weights + weights[other][:, mirror] * np.array([-1, 1, 1], np.float32)) / 2


def mirrored_blendshapes() -> np.ndarray:
    """Return the index of each blendshape's counterpart on the other side, int ``[52]``."""
    names = list(BLENDSHAPE_NAMES)
    return np.array([names.index(_swap_side(name)) for name in names])


def _normalised(shape: np.ndarray) -> np.ndarray:
    centred = shape - shape[RIGID].mean(axis=0)
    return centred / np.sqrt((centred[RIGID] ** 2).sum(axis=1).mean())


def _swap_side(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name
