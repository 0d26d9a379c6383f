"""Which points of the model's skin the face tracker's landmarks are.

The model names 68 landmark vertices, the tracker reads 478 points of a mesh of its own. Rendered heads, whose vertices
are known to a fraction of a pixel, are shown to the tracker; a landmark is the point of the skin that stays nearest to it
over all of them, expressions included. ``python -m mimicam.training.synthetic.marks`` makes the bundled file again.
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
"""Of the tracker's landmarks; the last ten lie on the irises."""
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
    """``[468]`` how far the tracker's landmark strays from that point, root mean square over heads, in parts of the
    picture's side at the sampled heads' size."""

    def points(self, vertices: Float) -> Float:
        """``[468, C]`` of per-vertex values ``[V, C]``."""
        return np.asarray(np.einsum("kj,kjc->kc", self.weights, vertices[self.corners]))


@cache
def landmark_map(path: Path = MAP_FILE) -> LandmarkMap:
    """The bundled correspondence.

    Raises:
        EngineError: the file is missing.
    """
    if not path.is_file():
        raise EngineError(f"no {path.name}: run 'python -m mimicam.training.synthetic.marks'")
    with np.load(path) as npz:
        return LandmarkMap(
            corners=npz["corners"].astype(np.int32), weights=npz["weights"], noise=npz["noise"]
        )


def learn(
    model: FaceModel, renderer: Renderer, count: int, seed: int, tick: Callable[[], None]
) -> LandmarkMap:
    """Render ``count`` heads, track them, and find the skin's points nearest to the landmarks.

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
    """Skin vertices ``[n, S, 2]`` and landmarks ``[n, 468, 2]`` of the heads that were tracked, in picture sides."""
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
            tracked.append((face.landmarks[:SKIN_MARKS, :2] - 0.5) / renderer.size_px)
        tick()
    if not places:
        raise EngineError("the tracker found no rendered head: is the model the right one?")
    return np.stack(places), np.stack(tracked)


def _nearest(skin: Int, places: Float, tracked: Float) -> LandmarkMap:
    samples = len(places)
    p = np.moveaxis(places, 1, 0).reshape(len(skin), -1).astype(np.float64)
    t = np.moveaxis(tracked, 1, 0).reshape(SKIN_MARKS, -1).astype(np.float64)
    cost = (p**2).sum(1)[:, None] - 2 * p @ t.T + (t**2).sum(1)
    corners = np.argsort(cost, axis=0)[:_NEIGHBOURS].T
    weights = np.stack([_mix(p[c], t[k]) for k, c in enumerate(corners)])
    strays = np.einsum("kj,kjn->kn", weights, p[corners]) - t
    noise = np.sqrt((strays**2).sum(1) / samples)
    return LandmarkMap(
        corners=skin[corners], weights=weights.astype(np.float32), noise=noise.astype(np.float32)
    )


def _mix(points_8N: Float, target_N: Float) -> Float:
    """Weights ``[8]`` of sum 1 that lay a mixture of points on the target, not far from the nearest alone."""
    unit = np.zeros(len(points_8N))
    unit[0] = 1.0
    away = points_8N[1:] - points_8N[0]
    typical = (away**2).sum(1).mean()
    rest = np.linalg.solve(
        away @ away.T + _RIDGE * 1e-2 * typical * np.eye(len(away)), away @ (target_N - points_8N[0])
    )
    unit[1:] = rest
    unit[0] -= rest.sum()
    return unit


@dataclass(frozen=True, kw_only=True)
class LearnMarks:
    """Learn the correspondence between the tracker's landmarks and the model, and write it."""

    out: Path = MAP_FILE
    """File to write."""
    count: int = 400
    """Heads to render and track."""
    seed: int = 5
    """The same seed gives the same heads."""
    model: Path | None = None
    """ict_face_model.npz."""

    def run(self) -> int:
        """Learn and write. Returns the exit code."""
        model = FaceModel.load(self.model)
        learnt = learn(model, Renderer(model, _SIZE_PX), self.count, self.seed, lambda: None)
        np.savez_compressed(
            self.out,
            corners=learnt.corners.astype(np.int16 if len(model.neutral) < 2**15 else np.int32),
            weights=learnt.weights,
            noise=learnt.noise,
        )
        print(f"{self.out}: median stray {np.median(learnt.noise) * _SIZE_PX:.2f} px at {_SIZE_PX} px")
        return 0


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused."""
    try:
        return tyro.cli(LearnMarks, args=argv).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
