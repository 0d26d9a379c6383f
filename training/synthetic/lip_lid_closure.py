"""Spread corrections at landmarks over the mesh, and make lips and lids meet where the expression
closes them.

Shape letters: V = vertices, K = 468 landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.training.synthetic.fit import Fit
from mimicam.training.synthetic.landmark_map import LandmarkMap
from mimicam.training.synthetic.model import FaceModel, Float, Int

LIPS = ((191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318), (415, 324))
"""The tracker's inner lips, upper over lower."""
LIDS = (
    (161, 163), (160, 144), (159, 145), (158, 153), (157, 154),
    (388, 390), (387, 373), (386, 374), (385, 380), (384, 381),
)  # fmt: skip
"""Upper over lower lid."""
_OPEN = 0.016
"""Opening, in picture sides, from which on a gap keeps the portrait's own difference from the
model."""
_OVERLAP = 0.004
"""Overlap of closed lips and lids, in picture sides: without it the inside would show through the
seam."""
_STIFFNESS = 0.05
_LOCAL_CM = 0.9


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Linear maps from landmarks to vertices.

    Distances are measured on the face with mouth and eyes wide open, so that upper and lower lip
    are far apart.
    """

    vertices: Int
    """``[v]``: indices of the vertices that are drawn."""
    carry: Float
    """``[v, 468]`` for `smooth`."""
    stick: Float
    """``[v, 468]`` for `local`."""
    count: int
    """V"""

    @classmethod
    def build(cls, model: FaceModel, marks: LandmarkMap, vertices: Int) -> Spread:
        """Compute biharmonic splines (kernel r, with an affine part) and local Gaussian ones."""
        gaping = model.neutral + (model.weights(jawOpen=1.0, eyeWide=1.0) @ model.expression_shapes).reshape(
            -1, 3
        )
        centres = marks.points(gaping).astype(np.float64)
        points = gaping[vertices].astype(np.float64)
        return cls(
            vertices=vertices,
            carry=_biharmonic(points, centres).astype(np.float32),
            stick=_gaussian(points, centres).astype(np.float32),
            count=len(model.neutral),
        )

    def smooth(self, values_K2: Float) -> Float:
        """Spread values smoothly, ``[V, 2]``; away from landmarks they continue as an affine
        map."""
        return self._scatter(self.carry @ values_K2)

    def local(self, values_K2: Float) -> Float:
        """Spread values locally, ``[V, 2]``; they vanish within 2 cm or so."""
        return self._scatter(self.stick @ values_K2)

    def _scatter(self, values: Float) -> Float:
        out = np.zeros((self.count, 2), np.float32)
        out[self.vertices] = values
        return out


def _distances(a: Float, b: Float) -> Float:
    square = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def _biharmonic(points: Float, centres: Float) -> Float:
    count = len(centres)
    affine = np.concatenate([np.ones((count, 1)), centres], 1)
    system = np.zeros((count + 4, count + 4))
    # Biharmonic kernel -r with a small stiffness on the diagonal, so that noisy landmarks are
    # smoothed.
    system[:count, :count] = -_distances(centres, centres) + _STIFFNESS * np.eye(count)
    # The affine part, and the side conditions that make it unique.
    system[:count, count:], system[count:, :count] = affine, affine.T
    basis = np.concatenate([-_distances(points, centres), np.ones((len(points), 1)), points], 1)
    return np.asarray(basis @ np.linalg.inv(system)[:, :count])


def _gaussian(points: Float, centres: Float) -> Float:
    near = np.exp(-((_distances(centres, centres) / _LOCAL_CM) ** 2) / 2)
    basis = np.exp(-((_distances(points, centres) / _LOCAL_CM) ** 2) / 2)
    return np.asarray(basis @ np.linalg.inv(near + 0.05 * np.eye(len(centres))))


def seal(fit: Fit, model: FaceModel, marks: LandmarkMap, expression: Float) -> Float:
    """Compute the shift of landmarks, ``[468, 2]`` px, that closes what this expression closes.

    The strays are the difference of the portrait's lips and lids from the model's. Where the model
    opens them, the difference stays. The less it opens them, the less of the difference stays.
    """
    # The head's downward axis in the picture: gaps are measured along it.
    down = -fit.camera.rotation[:2, 1] * np.array([1.0, -1.0])
    down /= np.linalg.norm(down)
    resting, wanted = (_gaps(fit, model, marks, w, down) for w in (np.zeros_like(expression), expression))
    # A gap of the lips counts from rest, since some faces' lips do not touch at rest. Lids count
    # from closed.
    lids = np.arange(len(wanted)) >= len(LIPS)
    opened = wanted - np.where(lids, 0.0, resting)
    share = np.clip(opened / (_OPEN * fit.camera.size_px), 0, 1)
    # Smoothstep: no kink where closing begins.
    keep = share * share * (3 - 2 * share)
    upper, lower = np.array(LIPS + LIDS).T
    stray = (fit.strays_px[lower] - fit.strays_px[upper]) @ down
    close = (1 - keep) * (stray + _OVERLAP * fit.camera.size_px)
    out = np.zeros_like(fit.strays_px)
    # Both sides move by half, towards each other.
    out[upper] += 0.5 * close[:, None] * down
    out[lower] -= 0.5 * close[:, None] * down
    return out


def _gaps(fit: Fit, model: FaceModel, marks: LandmarkMap, expression: Float, down: Float) -> Float:
    points = marks.points(fit.neutral).astype(np.float32)
    for i in np.flatnonzero(expression):
        points = points + expression[i] * marks.points(model.expression_shapes[i].reshape(-1, 3))
    at = fit.camera.place(points)[:, :2]
    upper, lower = np.array(LIPS + LIDS).T
    return np.asarray((at[lower] - at[upper]) @ down)
