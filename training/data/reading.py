"""Compute the maps that ``engine.face.expression_filter`` ships, from packs of tracked frames.

A frame's features ``f`` are its blendshapes and the modes of its canonical shape. Within one person, the shape changes by
expression only: regressing its change on the features' change would give the displacement, were there no other people.
Between people the modes differ though nobody moves. That is noise to this regression, known by its covariance, and is
added to the normal equations as such (a Wiener filter; Wiener, "Extrapolation, Interpolation, and Smoothing of
Stationary Time Series", 1949).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.engine.face.expression_filter import view_terms
from mimicam.engine.face.geometry import RIGID, fit_similarity
from mimicam.training.data.geometry import mirrored_blendshapes, pose_rows

MODES = 80
_EVERY = 11
"""The modes are those of every n-th frame: neighbours are alike."""
_RIDGE = 1.0
_FRAMES_OF_A_PERSON = 100.0
"""People weigh alike, each as this many frames."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Frames as the tracker reads them, each beside its mirror picture. N frames, flattened shapes."""

    shape: np.ndarray
    """``[N, 1434]``, canonical, less the mean face."""
    expression: np.ndarray
    """``[N, 52]``"""
    view: np.ndarray
    """``[N, 9]``; see `engine.face.expression_filter.view_terms`."""
    person: np.ndarray
    """``[N]``, any labels; the mirror picture is another person."""
    pose_group: np.ndarray
    """int ``[N]``; see `training.data.pack`."""
    own_pose_shape: np.ndarray
    """``[N, 1434]``: as ``shape``, by the pose of the frame's pose group."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """See `engine.face.expression_filter.ExpressionFilter`."""

    modes: np.ndarray
    view_bias: np.ndarray
    displacement: np.ndarray


def read_pack(
    track: dict[str, np.ndarray], people: np.ndarray, mean: np.ndarray, mirror: np.ndarray
) -> Readings:
    """Frames of a pack's ``track.npz``, plain and mirrored. ``people``: a label for each frame."""
    group = track["pose_group"] if "pose_group" in track else np.arange(len(people))
    sides = [(track["landmarks"], track["blendshapes"], people, group)]
    flipped = track["landmarks"][:, mirror] * np.array([-1, 1, 1], np.float32)
    names = np.char.add(people.astype(str), " mirrored")
    sides.append((flipped, track["blendshapes"][:, mirrored_blendshapes()], names, group + group.max() + 1))
    parts = [_read(*side, mean) for side in sides]
    return Readings(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _read(
    landmarks: np.ndarray, expression: np.ndarray, people: np.ndarray, group: np.ndarray, mean: np.ndarray
) -> dict[str, np.ndarray]:
    rotation, scale, centre = fit_similarity(mean[RIGID], landmarks[:, RIGID])
    rows = pose_rows(group)

    def canonical(turn: np.ndarray, size: np.ndarray, at: np.ndarray) -> np.ndarray:
        shapes: np.ndarray = (landmarks - at[:, None]) @ turn / size[:, None, None] - mean
        return shapes.reshape(len(shapes), -1).astype(np.float32)

    at = np.concatenate([centre[rows, :2], centre[:, 2:]], axis=1)
    return {
        "shape": canonical(rotation, scale, centre),
        "expression": expression,
        "view": view_terms(rotation),
        "person": people.astype(str),
        "pose_group": group,
        "own_pose_shape": canonical(rotation[rows], scale[rows], at),
    }


def fit_maps(
    people: Readings, shape_from_expression: np.ndarray, rendered: Readings | None, rendered_share: float
) -> Maps:
    """The maps of real people, and of rendered heads where given.

    Args:
        people: training people, many frames each.
        shape_from_expression: see `engine.face.geometry.FaceGeometry`.
        rendered: heads of exactly two expressions by two poses each, by ``pose_group``, in the order of
            `training.synthetic.quadruple.ORDER`.
        rendered_share: weight of a pair of rendered pictures, where a person weighs 100.
    """
    bias = view_bias_of_shapes(people)
    unbiased = people.shape - people.view @ bias
    explained = people.expression @ shape_from_expression.reshape(len(shape_from_expression), -1)
    _, _, modes = np.linalg.svd((unbiased - explained)[::_EVERY], full_matrices=False)
    modes = modes[:MODES]
    features = _features(people, bias, modes)
    x, y = _within(features, people.person), _within(unbiased, people.person)
    normal, right = x.T @ x, x.T @ y
    normal += _identity(_unmoved(unbiased - explained, modes), people.person)
    if rendered is not None:
        pairs, changes = _rendered_pairs(rendered, _features(rendered, bias, modes))
        normal += rendered_share * pairs.T @ pairs
        right += rendered_share * pairs.T @ changes
    displacement = np.linalg.solve(normal + _RIDGE * np.eye(len(normal)), right)
    return Maps(modes=modes, view_bias=bias @ modes.T, displacement=displacement)


def displacements(frames: Readings, maps: Maps) -> np.ndarray:
    """``[N, 1434]`` from a face without expression; only differences mean anything."""
    modes = frames.shape @ maps.modes.T - frames.view @ maps.view_bias
    result: np.ndarray = np.concatenate([frames.expression, modes], axis=1) @ maps.displacement
    return result


def explained_share(
    frames: Readings, predicted: np.ndarray, view_bias: np.ndarray, landmarks: list[int]
) -> float:
    """Of the variance of landmarks' x and y within people, what a prediction of their displacement explains."""
    columns = np.array([3 * i + axis for i in landmarks for axis in (0, 1)])
    truth = _centred(frames.shape[:, columns] - frames.view @ view_bias[:, columns], frames.person)
    error = truth - _centred(predicted[:, columns], frames.person)
    return float(1 - (error**2).sum() / (truth**2).sum())


def view_bias_of_shapes(frames: Readings) -> np.ndarray:
    """``[9, 1434]``: what the tracker reads differently of turned faces.

    Regressed beside the blendshapes, so that what people do when they turn is not taken for the turn.
    """
    x = _within(np.concatenate([frames.expression[:, 1:], frames.view], axis=1), frames.person)
    y = _within(frames.shape, frames.person)
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    bias: np.ndarray = weights[-frames.view.shape[1] :]
    return bias


def _features(frames: Readings, bias: np.ndarray, modes: np.ndarray) -> np.ndarray:
    expression = frames.expression.copy()
    expression[:, 0] = 0  # MediaPipe's "neutral" is not a shape
    return np.concatenate([expression, (frames.shape - frames.view @ bias) @ modes.T], axis=1)


def _unmoved(residual: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Features of what blendshapes do not explain."""
    z = residual @ modes.T
    return np.concatenate([np.zeros((len(z), 52)), z], axis=1)


def _identity(features: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Scatter of the people's means: what differs though nobody moves."""
    names, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    means = np.zeros((len(names), features.shape[1]))
    np.add.at(means, number, features)
    means /= counts[:, None]
    scatter: np.ndarray = means.T @ means * _FRAMES_OF_A_PERSON**2
    return scatter


def _rendered_pairs(frames: Readings, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From either picture of one expression to either of the other: features' change, and the true one."""
    order = np.argsort(frames.person, kind="stable")
    names, counts = np.unique(frames.person, return_counts=True)
    whole = np.isin(frames.person[order], names[counts == 4])
    first, smile, turned, both = order[whole].reshape(-1, 4).T
    change = frames.own_pose_shape[smile] - frames.own_pose_shape[first]
    pairs = [features[b] - features[a] for a in (first, turned) for b in (smile, both)]
    return np.concatenate(pairs), np.concatenate([change] * 4)


def _within(values: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Less the person's mean, and weighed so that people count alike."""
    _, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    weighed: np.ndarray = _centred(values, person) * (_FRAMES_OF_A_PERSON / np.sqrt(counts))[number, None]
    return weighed


def _centred(values: np.ndarray, person: np.ndarray) -> np.ndarray:
    centred = values.astype(np.float64)
    for name in np.unique(person):
        rows = person == name
        centred[rows] -= centred[rows].mean(axis=0)
    return centred
