"""The map from the face tracker's landmarks to points of the head model's skin.

The model names 68 landmark vertices; the tracker finds 478 points of another mesh. To match them,
heads are rendered, with vertices known to a fraction of a pixel, and tracked. A landmark is the
point of the skin that stays nearest to it over all heads and expressions.
``python -m mimicam.training.synthetic.landmark_map`` makes the bundled file again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tyro

from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceTracker
from mimicam.training.synthetic.mesh import build_mesh
from mimicam.training.synthetic.model import FaceModel, Float, Int
from mimicam.training.synthetic.people import draw_person
from mimicam.training.synthetic.render import Renderer
from mimicam.training.synthetic.sample import ExpressionSampler, draw_pose
from mimicam.training.synthetic.scene import project

SKIN_MARKS = 468
"""Number of the tracker's landmarks on the skin; the last ten lie on the irises."""
MAP_FILE = Path(__file__).with_name("landmark_map.npz")
_NEIGHBOURS = 8
_RIDGE = 30.0
_POSE_SPREAD = 0.6
_SIZE_PX = 256


@dataclass(frozen=True, kw_only=True)
class LandmarkMap:
    """Landmark k of the tracker is ``sum_j weights[k, j] * vertices[corners[k, j]]``."""

    corners: Int
    """``[468, 8]`` model vertices."""
    weights: Float
    """``[468, 8]``, each row sums to 1."""
    noise: Float
    """``[468]``: distance of the tracker's landmark from that point, root mean square over heads,
    in picture sides at the size of the sampled heads."""

    def points(self, vertices: Float) -> Float:
        """Interpolate per-vertex values ``[V, C]`` at the landmarks, ``[468, C]``."""
        return np.asarray(np.einsum("kj,kjc->kc", self.weights, vertices[self.corners]))


@cache
def landmark_map(path: Path = MAP_FILE) -> LandmarkMap:
    """Read the bundled map.

    Raises:
        EngineError: the file is missing.
    """
    if not path.is_file():
        raise EngineError(f"no {path.name}: run 'python -m mimicam.training.synthetic.landmark_map'")
    with np.load(path) as npz:
        return LandmarkMap(
            corners=npz["corners"].astype(np.int32), weights=npz["weights"], noise=npz["noise"]
        )


def fit_landmark_map(
    model: FaceModel, renderer: Renderer, count: int, seed: int, tick: Callable[[], None]
) -> LandmarkMap:
    """Render ``count`` heads, track them, and find the points of the skin nearest to the landmarks.

    Raises:
        EngineError: the tracker finds no face on any of them.
    """
    mesh = build_mesh(model)
    skin = np.unique(mesh.source[mesh.indices["skin"]])
    places, tracked = _observe(model, renderer, skin, count, seed, tick)
    return _nearest(skin, places, tracked)


def _observe(
    model: FaceModel, renderer: Renderer, skin: Int, count: int, seed: int, tick: Callable[[], None]
) -> tuple[Float, Float]:
    """Render and track heads; return skin vertices ``[n, S, 2]`` and landmarks ``[n, 468, 2]`` in
    picture sides."""
    sampler, tracker = ExpressionSampler(model), FaceTracker()
    places, tracked = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        person, expression = draw_person(rng, len(model.identity_modes)), sampler.draw(rng)
        pose = draw_pose(rng, _POSE_SPREAD)
        renderer.enter(person)
        vertices = renderer.express(expression.weights, expression.gaze_rad)
        tracker.reset()
        face = tracker(renderer.draw(pose))
        if face is not None:
            at = project(vertices[skin], pose, person.lens, renderer.size_px)
            places.append(at / renderer.size_px)
            # The tracker counts pixels from the corner, the projection from the first pixel's
            # centre.
            tracked.append((face.landmarks[:SKIN_MARKS, :2] - 0.5) / renderer.size_px)
        tick()
    if not places:
        raise EngineError("the tracker found no rendered head: is the model the right one?")
    return np.stack(places), np.stack(tracked)


def _nearest(skin: Int, places: Float, tracked: Float) -> LandmarkMap:
    samples = len(places)
    p = np.moveaxis(places, 1, 0).reshape(len(skin), -1).astype(np.float64)
    t = np.moveaxis(tracked, 1, 0).reshape(SKIN_MARKS, -1).astype(np.float64)
    # Squared distances of all skin vertices to all landmarks over all heads, expanded to one
    # product.
    cost = (p**2).sum(1)[:, None] - 2 * p @ t.T + (t**2).sum(1)
    corners = np.argsort(cost, axis=0)[:_NEIGHBOURS].T
    weights = np.stack([_mix(p[c], t[k]) for k, c in enumerate(corners)])
    strays = np.einsum("kj,kjn->kn", weights, p[corners]) - t
    noise = np.sqrt((strays**2).sum(1) / samples)
    return LandmarkMap(
        corners=skin[corners], weights=weights.astype(np.float32), noise=noise.astype(np.float32)
    )


def _mix(points_8N: Float, target_N: Float) -> Float:
    """Weights ``[8]`` of sum 1 that move a mixture of points to the target; a ridge keeps it near
    the nearest one."""
    unit = np.zeros(len(points_8N))
    unit[0] = 1.0
    # Weights sum to 1, so only offsets from the nearest vertex are free.
    away = points_8N[1:] - points_8N[0]
    typical = (away**2).sum(1).mean()
    rest = np.linalg.solve(
        away @ away.T + _RIDGE * 1e-2 * typical * np.eye(len(away)), away @ (target_N - points_8N[0])
    )
    unit[1:] = rest
    unit[0] -= rest.sum()
    return unit


@dataclass(frozen=True, kw_only=True)
class LearnLandmarkMap:
    """Fit the map between the tracker's landmarks and the model, and write it."""

    out: Path = MAP_FILE
    """File to write."""
    count: int = 400
    """Number of heads to render and track."""
    seed: int = 5
    """The same seed gives the same heads."""
    model: Path | None = None
    """The head model, ict_face_model.npz."""

    def run(self) -> int:
        """Fit and write; return the exit code."""
        model = FaceModel.load(self.model)
        learnt = fit_landmark_map(model, Renderer(model, _SIZE_PX), self.count, self.seed, lambda: None)
        np.savez_compressed(
            self.out,
            corners=learnt.corners.astype(np.int16 if len(model.neutral) < 2**15 else np.int32),
            weights=learnt.weights,
            noise=learnt.noise,
        )
        print(f"{self.out}: median stray {np.median(learnt.noise) * _SIZE_PX:.2f} px at {_SIZE_PX} px")
        return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 0 if done, 1 if refused."""
    try:
        return tyro.cli(LearnLandmarkMap, args=argv).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
