"""Compute the face statistics that ``engine.stages.geometry`` ships, from packs of tracked clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engine.stages.geometry import RIGID, fit_similarity
from engine.stages.landmarks import BLENDSHAPE_NAMES

_SIDES = ((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (54, 284), (129, 358))
"""Landmarks of the person's right and left side."""


def pose_rows(pose_group: np.ndarray) -> np.ndarray:
    """The row that each frame's head pose is read from, int ``[N]``: the first of its group (see `training.data.pack`).

    The tracker reads another pose off another expression; where the truth is that the head kept still, it shall be still.
    """
    _, first, group = np.unique(pose_group, return_index=True, return_inverse=True)
    rows: np.ndarray = first[group.reshape(-1)]
    return rows


def mean_face(landmarks: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Generalised Procrustes mean of ``[N, 478, 3]`` under similarities of the rigid points, made symmetric.

    Gower, "Generalized Procrustes analysis", Psychometrika 1975.
    """
    mean = _normalised(landmarks[0])
    for _ in range(rounds):
        mean = _normalised(canonical_shapes(landmarks, mean).mean(axis=0))
    mean = _normalised(_upright(mean))
    flipped = mean * np.array([-1, 1, 1])
    return _normalised((mean + flipped[mirror_map(mean)]) / 2).astype(np.float32)


def _upright(mean: np.ndarray) -> np.ndarray:
    """Turn so that x runs from the right eye to the left and y from the forehead (10) to the chin (152)."""
    x = sum(mean[left] - mean[right] for right, left in _SIDES)
    x = x / np.linalg.norm(x)
    y = mean[152] - mean[10]
    y = y - (y @ x) * x
    y = y / np.linalg.norm(y)
    turned = mean @ np.stack([x, y, np.cross(x, y)], axis=1)
    middle = np.mean([(turned[a, 0] + turned[b, 0]) / 2 for a, b in _SIDES])
    turned[:, 0] -= middle
    return turned


def canonical_shapes(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``[N, 478, 3]`` laid on the mean face, each by its rigid points."""
    rotation, scale, centre = fit_similarity(mean[RIGID], landmarks[:, RIGID])
    return (landmarks - centre[:, None]) @ rotation / scale[:, None, None]


def mirror_map(mean: np.ndarray) -> np.ndarray:
    """For each landmark the one nearest to its mirror picture."""
    flipped = mean * np.array([-1, 1, 1])
    distance = ((flipped[:, None] - mean[None]) ** 2).sum(axis=-1)
    return distance.argmin(axis=1)


def regress_shape(
    shapes: np.ndarray, expressions: np.ndarray, group: np.ndarray, ridge: float = 3.0
) -> np.ndarray:
    """``[52, 478, 3]``: within-person regression of canonical shape on blendshapes.

    Both are centred per group (a clip segment), so that identity does not enter.
    """
    x, y = expressions.astype(np.float64).copy(), shapes.reshape(len(shapes), -1).astype(np.float64)
    x[:, 0] = 0.0
    for g in np.unique(group):
        rows = group == g
        x[rows] -= x[rows].mean(axis=0)
        y[rows] -= y[rows].mean(axis=0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return weights.reshape(x.shape[1], -1, 3).astype(np.float32)


def symmetrise(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Average the regression with its mirror picture: a face's two sides move alike."""
    names = list(BLENDSHAPE_NAMES)
    other = [names.index(_swap_side(name)) for name in names]
    return (weights + weights[other][:, mirror] * np.array([-1, 1, 1], np.float32)) / 2


def mirrored_blendshapes() -> np.ndarray:
    """int ``[52]``: each coefficient's counterpart on the other side."""
    names = list(BLENDSHAPE_NAMES)
    return np.array([names.index(_swap_side(name)) for name in names])


def write_geometry(pack: Path, out: Path) -> dict[str, float]:
    """Compute from the training people of a pack; returns how much of the shape's motion is explained."""
    segments = json.loads((pack / "segments.json").read_text())
    with np.load(pack / "track.npz") as track:
        landmarks, shapes_52, segment = track["landmarks"], track["blendshapes"], track["segment"]
    training = ~np.array([bool(s["validation"]) for s in segments])[segment]
    landmarks, shapes_52, segment = landmarks[training], shapes_52[training], segment[training]
    mean = mean_face(landmarks[:: max(1, len(landmarks) // 4000)])
    mirror = mirror_map(mean)
    shapes = canonical_shapes(landmarks, mean)
    weights = symmetrise(regress_shape(shapes, shapes_52, segment), mirror)
    np.savez_compressed(out, mean=mean, mirror=mirror, shape_from_expression=weights.astype(np.float16))
    return _explained(shapes, shapes_52, segment, weights)


def _explained(
    shapes: np.ndarray, expressions: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    parts = {"lower lip": 14, "upper lip": 13, "mouth corner": 61, "upper lid": 159, "chin": 152, "brow": 105}
    predicted = np.tensordot(expressions, weights, axes=(1, 0))
    result = {}
    for name, index in parts.items():
        truth, guess = shapes[:, index].copy(), predicted[:, index].copy()
        for g in np.unique(group):
            rows = group == g
            truth[rows] -= truth[rows].mean(axis=0)
            guess[rows] -= guess[rows].mean(axis=0)
        result[name] = float(1 - ((truth - guess) ** 2).sum() / (truth**2).sum())
    return result


def _normalised(shape: np.ndarray) -> np.ndarray:
    centred = shape - shape[RIGID].mean(axis=0)
    return centred / np.sqrt((centred[RIGID] ** 2).sum(axis=1).mean())


def _swap_side(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name
