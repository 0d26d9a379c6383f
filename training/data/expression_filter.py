"""Fit the maps of `engine.face.expression_filter`, which separate expression from identity, to
packs of tracked frames.

A frame's features are its blendshapes and the modes of its canonical shape. Within one person the
shape changes by expression only, so a regression of its change on the features' change gives the
displacement. Between people the modes differ without any expression. To the regression this is
noise of known covariance, and it is added to the normal equations as such: a Wiener filter (Wiener,
"Extrapolation, Interpolation, and Smoothing of Stationary Time Series", 1949).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.engine.face.expression_filter import view_terms
from mimicam.engine.face.geometry import RIGID, fit_similarity
from mimicam.training.data.geometry import mirrored_blendshapes, pose_rows

MODES = 80
_EVERY = 11
"""Step between the frames that the modes are computed from: neighbours are nearly equal."""
_RIDGE = 1.0
_FRAMES_OF_A_PERSON = 100.0
"""Weight of each person, in frames: people with more frames do not count more."""


@dataclass(frozen=True, kw_only=True)
class TrackedFrames:
    """N frames and their mirror pictures as the tracker reads them, with flattened shapes."""

    shape: np.ndarray
    """``[N, 1434]``, canonical, less the mean face."""
    expression: np.ndarray
    """``[N, 52]``"""
    view: np.ndarray
    """``[N, 9]``; see `engine.face.expression_filter.view_terms`."""
    person: np.ndarray
    """``[N]``, any labels; the mirror picture counts as another person."""
    same_pose_group: np.ndarray
    """int ``[N]``; see `training.data.pack`."""
    own_pose_shape: np.ndarray
    """``[N, 1434]``: as ``shape``, but fitted by the pose of the frame's pose group."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The fitted maps; see `engine.face.expression_filter.ExpressionFilter`."""

    modes: np.ndarray
    view_bias: np.ndarray
    displacement: np.ndarray


def read_pack(
    track: dict[str, np.ndarray], people: np.ndarray, mean: np.ndarray, mirror: np.ndarray
) -> TrackedFrames:
    """Read a pack's ``track.npz``, plain and mirrored. ``people``: a label for each frame."""
    group = track["pose_group"] if "pose_group" in track else np.arange(len(people))
    sides = [(track["landmarks"], track["blendshapes"], people, group)]
    flipped = track["landmarks"][:, mirror] * np.array([-1, 1, 1], np.float32)
    names = np.char.add(people.astype(str), " mirrored")
    sides.append((flipped, track["blendshapes"][:, mirrored_blendshapes()], names, group + group.max() + 1))
    parts = [_read(*side, mean) for side in sides]
    return TrackedFrames(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


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
        "same_pose_group": group,
        "own_pose_shape": canonical(rotation[rows], scale[rows], at),
    }


def fit_maps(
    people: TrackedFrames,
    shape_from_expression: np.ndarray,
    rendered: TrackedFrames | None,
    rendered_share: float,
) -> Maps:
    """Fit the maps to real people, and to rendered heads where given.

    Args:
        people: training people, many frames each.
        shape_from_expression: see `engine.face.geometry.FaceGeometry`.
        rendered: heads of two expressions by two poses each, in
            `training.synthetic.quadruple.ORDER`; equal poses share a ``same_pose_group``.
        rendered_share: weight of a pair of rendered pictures; that of a person is 100.
    """
    bias = view_bias_of_shapes(people)
    # The tracker's view bias is removed first: it would be taken for expression.
    unbiased = people.shape - people.view @ bias
    explained = people.expression @ shape_from_expression.reshape(len(shape_from_expression), -1)
    # Modes of what blendshapes leave unexplained: identity, and motion that they do not describe.
    _, _, modes = np.linalg.svd((unbiased - explained)[::_EVERY], full_matrices=False)
    modes = modes[:MODES]
    features = _features(people, bias, modes)
    x, y = _within(features, people.person), _within(unbiased, people.person)
    normal, right = x.T @ x, x.T @ y
    # The Wiener term: covariance of the features between people, who differ without moving.
    normal += _identity(_unmoved(unbiased - explained, modes), people.person)
    if rendered is not None:
        pairs, changes = _rendered_pairs(rendered, _features(rendered, bias, modes))
        normal += rendered_share * pairs.T @ pairs
        right += rendered_share * pairs.T @ changes
    displacement = np.linalg.solve(normal + _RIDGE * np.eye(len(normal)), right)
    return Maps(modes=modes, view_bias=bias @ modes.T, displacement=displacement)


def displacements(frames: TrackedFrames, maps: Maps) -> np.ndarray:
    """Compute displacements ``[N, 1434]`` from a face without expression; only differences are
    meaningful."""
    modes = frames.shape @ maps.modes.T - frames.view @ maps.view_bias
    result: np.ndarray = np.concatenate([frames.expression, modes], axis=1) @ maps.displacement
    return result


def explained_share(
    frames: TrackedFrames, predicted: np.ndarray, view_bias: np.ndarray, landmarks: list[int]
) -> float:
    """Share of the variance within people of the landmarks' x and y that a predicted displacement
    explains."""
    columns = np.array([3 * i + axis for i in landmarks for axis in (0, 1)])
    truth = _centred(frames.shape[:, columns] - frames.view @ view_bias[:, columns], frames.person)
    error = truth - _centred(predicted[:, columns], frames.person)
    return float(1 - (error**2).sum() / (truth**2).sum())


def view_bias_of_shapes(frames: TrackedFrames) -> np.ndarray:
    """Fit ``[9, 1434]``: the tracker's bias on turned faces.

    The blendshapes are regressed along with it, so that expressions that go with a turn are not
    taken for the bias.
    """
    x = _within(np.concatenate([frames.expression[:, 1:], frames.view], axis=1), frames.person)
    y = _within(frames.shape, frames.person)
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    bias: np.ndarray = weights[-frames.view.shape[1] :]
    return bias


def _features(frames: TrackedFrames, bias: np.ndarray, modes: np.ndarray) -> np.ndarray:
    expression = frames.expression.copy()
    expression[:, 0] = 0  # MediaPipe's "neutral" is not a shape
    return np.concatenate([expression, (frames.shape - frames.view @ bias) @ modes.T], axis=1)


def _unmoved(residual: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Compute the features of the residual that blendshapes do not explain."""
    z = residual @ modes.T
    return np.concatenate([np.zeros((len(z), 52)), z], axis=1)


def _identity(features: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Compute the scatter of the people's means: the differences that are identity, not
    expression."""
    names, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    means = np.zeros((len(names), features.shape[1]))
    np.add.at(means, number, features)
    means /= counts[:, None]
    scatter: np.ndarray = means.T @ means * _FRAMES_OF_A_PERSON**2
    return scatter


def _rendered_pairs(frames: TrackedFrames, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair either picture of one expression with either of the other: changes of the features, and
    the true changes."""
    # Only heads whose four pictures were all tracked, in the order of rendering.
    order = np.argsort(frames.person, kind="stable")
    names, counts = np.unique(frames.person, return_counts=True)
    whole = np.isin(frames.person[order], names[counts == 4])
    first, smile, turned, both = order[whole].reshape(-1, 4).T
    # The truth is taken at one pose, so that it holds no error of the pose's reading.
    change = frames.own_pose_shape[smile] - frames.own_pose_shape[first]
    pairs = [features[b] - features[a] for a in (first, turned) for b in (smile, both)]
    return np.concatenate(pairs), np.concatenate([change] * 4)


def _within(values: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Subtract each person's mean, and weight people equally."""
    _, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    weighed: np.ndarray = _centred(values, person) * (_FRAMES_OF_A_PERSON / np.sqrt(counts))[number, None]
    return weighed


def _centred(values: np.ndarray, person: np.ndarray) -> np.ndarray:
    centred = values.astype(np.float64)
    for name in np.unique(person):
        rows = person == name
        centred[rows] -= centred[rows].mean(axis=0)
    return centred
