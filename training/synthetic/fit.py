"""Fit the head model to the landmarks of a portrait: pose, identity and expression together.

The camera is a pinhole at a fixed distance. Its focal length, the head's rotation and position,
identity and expression are found by damped Gauss-Newton on the reprojected landmarks. Identity has
a normal prior, expression one around the tracker's blendshapes. The small remainder is corrected by
a smooth warp in the picture (`training.synthetic.rerender`). Space: head, as in
`training.synthetic.model`; pixel (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.synthetic.landmark_map import SKIN_MARKS, LandmarkMap
from mimicam.training.synthetic.model import FaceModel, Float
from mimicam.training.synthetic.scene import CROP_FROM_HEAD, FACE_CENTRE

DISTANCE_CM = 90.0
"""Distance from camera to face, cm. It is fixed: the identity modes can imitate its effect on a
crop."""
_ROUNDS = 15
_FREE = 1e-6
_UNFITTED = ("PupilDilate", "eyeLook", "jawForward", "cheekPuff")
"""Prefixes of shapes that the landmarks of one picture do not determine."""
_EXPRESSION_STRAY = 0.4
"""Standard deviation of a shape's weight around the tracker's blendshape, which has a scale of its
own."""
_IDENTITY_STRAY = 1.0
_LOWEST, _HIGHEST = -0.2, 1.5
"""Bounds of a shape's weight. Negative weights make up for what the identity modes lack."""
_BOUND_ROUNDS = 12
_NOISE_FLOOR = 0.004
"""Smallest noise of a landmark, in picture sides: about a pixel at 256."""
_START_FOCAL = 2 * DISTANCE_CM * 0.55 / 17.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Projection from head space to the picture."""

    rotation: Float
    """``[3, 3]`` in the model's axes, about FACE_CENTRE."""
    shift_cm: Float
    """``[2]`` right and up."""
    focal: float
    """Focal length in half picture sides."""
    size_px: int

    def place(self, points: Float) -> Float:
        """Project points to ``[n, 3]``: pixel x, y and the distance from the camera, cm."""
        turned = (points - FACE_CENTRE) @ self.rotation.T
        depth = DISTANCE_CM - turned[:, 2]
        half = self.size_px / 2
        x = half + half * self.focal * (turned[:, 0] + self.shift_cm[0]) / depth - 0.5
        y = half - half * self.focal * (turned[:, 1] + self.shift_cm[1]) / depth - 0.5
        return np.stack([x, y, depth], 1).astype(np.float32)

    @cached_property
    def angles_deg(self) -> tuple[float, float]:
        """Return yaw and pitch, signs as in ``HeadPose.angles_rad``."""
        nose = self.rotation[:, 2]
        return float(np.rad2deg(np.arctan2(nose[0], nose[2]))), float(np.rad2deg(np.arcsin(-nose[1])))

    def crop_rotation(self) -> Float:
        """Return ``[3, 3]`` in the axes of ``engine.types.HeadPose``."""
        return np.asarray(CROP_FROM_HEAD @ self.rotation @ CROP_FROM_HEAD)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The head model fitted to a portrait."""

    camera: Camera
    identity: Float
    """``[60]``"""
    neutral: Float
    """``[V, 3]``"""
    expression: Float
    """``[57]`` weights that multiply the model's shapes directly."""
    strays_px: Float
    """``[468, 2]``: tracked landmark minus the fitted one."""

    @property
    def residual_px(self) -> float:
        """Root mean square of the strays, pixels."""
        return float(np.sqrt((self.strays_px**2).sum(1).mean()))


def blendshape_prior(model: FaceModel, blendshapes: Float) -> Float:
    """Convert the tracker's ``[52]`` blendshapes to the model's weights ``[57]``; ``browInnerUp``
    counts for both sides."""
    value = dict(zip(BLENDSHAPE_NAMES, map(float, blendshapes), strict=True))
    out = np.zeros(len(model.expression_names))
    for i, name in enumerate(model.expression_names):
        stem = name.removesuffix("_L").removesuffix("_R")
        side = {"_L": "Left", "_R": "Right"}.get(name[len(stem) :], "")
        out[i] = value.get(stem + side, value.get(stem, 0.0))
    return out


class Fitter:
    """Fits portraits; computes what depends on the model only once."""

    def __init__(self, model: FaceModel, marks: LandmarkMap) -> None:
        self._model, self._marks = model, marks
        self._certainty = 1 / (2 * np.hypot(marks.noise.astype(np.float64), _NOISE_FLOOR))
        self._fitted = np.array([not n.startswith(_UNFITTED) for n in model.expression_names])
        self._rest = marks.points(model.neutral).astype(np.float64) - FACE_CENTRE
        self._modes = self._at_marks(model.identity_modes)
        self._shapes = self._at_marks(model.expression_shapes[self._fitted])

    def _at_marks(self, basis: Float) -> Float:
        """Interpolate a basis ``[M, V * 3]`` at the landmarks, ``[M, 468, 3]``."""
        return np.stack([self._marks.points(b.reshape(-1, 3)) for b in basis]).astype(np.float64)

    def __call__(self, landmarks_px: Float, blendshapes: Float, size_px: int) -> Fit:
        """Fit one portrait.

        Args:
            landmarks_px: ``[468 or more, 2 or more]`` the tracker's, (0, 0) at the first pixel's
                centre.
            blendshapes: ``[52]`` the tracker's.
            size_px: the picture's side.

        Raises:
            EngineError: the landmarks are no face (not finite, or all in one place).
        """
        target = landmarks_px[:SKIN_MARKS, :2].astype(np.float64)
        if not np.isfinite(target).all() or np.ptp(target[:, 0]) < 0.05 * size_px:
            raise EngineError("the portrait's landmarks are no face: give a picture in which one is seen")
        # To half picture sides, y up, as the pinhole projects.
        wanted = np.stack([target[:, 0] + 0.5, size_px - 0.5 - target[:, 1]], 1) * (2 / size_px) - 1
        prior = blendshape_prior(self._model, blendshapes)[self._fitted]
        state = _State.start(wanted, len(self._modes), prior)
        for _ in range(_ROUNDS):
            state = self._improve(state, wanted, prior)
        return self._finish(state, target, size_px)

    def _improve(self, state: _State, wanted: Float, prior: Float) -> _State:
        basis = np.concatenate([self._modes, self._shapes])
        projected, jacobian = _project(state, self._shape(state), basis)
        weight = np.repeat(self._certainty, 2)
        a, b = jacobian * weight[:, None], (wanted - projected).ravel() * weight
        modes, shapes = len(self._modes), len(self._shapes)
        # Pose and focal length are nearly free; identity and expression are pulled to their priors.
        ridge = np.repeat([_FREE, 1 / _IDENTITY_STRAY**2, 1 / _EXPRESSION_STRAY**2], [6, modes, shapes])
        home = np.concatenate([np.zeros(6), -state.identity, prior - state.expression])
        unbounded = np.full(6 + modes, np.inf)
        lowest = np.concatenate([-unbounded, _LOWEST - state.expression])
        highest = np.concatenate([unbounded, _HIGHEST - state.expression])
        step = _bounded(a.T @ a + np.diag(ridge), a.T @ b + ridge * home, lowest, highest)
        return state.moved(step, modes)

    def _shape(self, state: _State) -> Float:
        moved = np.tensordot(state.identity, self._modes, 1) + np.tensordot(state.expression, self._shapes, 1)
        return np.asarray(self._rest + moved)

    def _finish(self, state: _State, target: Float, size_px: int) -> Fit:
        expression = np.zeros(len(self._fitted), np.float32)
        expression[self._fitted] = state.expression
        camera = Camera(
            rotation=state.rotation.astype(np.float32),
            shift_cm=state.shift.astype(np.float32),
            focal=float(state.focal),
            size_px=size_px,
        )
        found = camera.place(self._shape(state) + FACE_CENTRE)[:, :2]
        identity = state.identity.astype(np.float32)
        return Fit(
            camera=camera,
            identity=identity,
            neutral=self._model.identity(identity),
            expression=expression,
            strays_px=(target - found).astype(np.float32),
        )


@dataclass(frozen=True, kw_only=True)
class _State:
    rotation: Float
    shift: Float
    focal: float
    identity: Float
    expression: Float

    @classmethod
    def start(cls, wanted: Float, modes: int, prior: Float) -> _State:
        """Start upright and frontal, with the landmarks' size and centre."""
        focal = _START_FOCAL * float(np.ptp(wanted[:, 1]))
        return cls(
            rotation=np.eye(3),
            shift=wanted.mean(0) * DISTANCE_CM / focal,
            focal=focal,
            identity=np.zeros(modes),
            expression=prior.copy(),
        )

    def moved(self, step: Float, modes: int) -> _State:
        # Limited steps: the first ones, from a frontal start, could overshoot.
        turn = cv2.Rodrigues(np.clip(step[:3], -0.4, 0.4))[0]
        return _State(
            rotation=turn @ self.rotation,
            shift=self.shift + step[3:5],
            focal=self.focal * float(np.exp(np.clip(step[5], -0.3, 0.3))),
            identity=np.clip(self.identity + step[6 : 6 + modes], -3, 3),
            expression=np.clip(self.expression + step[6 + modes :], _LOWEST, _HIGHEST),
        )


def _bounded(matrix: Float, vector: Float, lowest: Float, highest: Float) -> Float:
    """Solve ``matrix @ x = vector`` with x in bounds: values outside are fixed at their bound, and
    the others solved again."""
    out = np.zeros_like(vector)
    free = np.ones(len(vector), bool)
    for _ in range(_BOUND_ROUNDS):
        rest = vector[free] - matrix[np.ix_(free, ~free)] @ out[~free]
        out[free] = np.linalg.solve(matrix[np.ix_(free, free)], rest)
        inside = (out >= lowest - 1e-9) & (out <= highest + 1e-9)
        out = np.clip(out, lowest, highest)
        if inside.all():
            break
        free &= inside  # a value on its bound stays there
    return out


def _project(state: _State, points: Float, basis: Float) -> tuple[Float, Float]:
    """Project to ``[468, 2]`` in half sides, y up, and their derivatives ``[936, 6 + M]``."""
    turned = points @ state.rotation.T
    depth = DISTANCE_CM - turned[:, 2]
    over = turned[:, :2] + state.shift
    # Pinhole projection; its derivative by depth gives the second term of `flat`.
    at = state.focal * over / depth[:, None]
    x, y, z = turned.T
    zero = np.zeros_like(x)
    # Columns of the Jacobian: three rotations (cross products), two shifts, the focal length, then
    # the basis.
    spins = np.stack([np.stack([zero, -z, y], 1), np.stack([z, zero, -x], 1), np.stack([-y, x, zero], 1)])
    moves = np.concatenate([spins, basis @ state.rotation.T])
    flat = (state.focal * moves[..., :2] + at * moves[..., 2:]) / depth[:, None]
    slide = np.zeros((2, len(points), 2))
    slide[0, :, 0] = slide[1, :, 1] = state.focal / depth
    columns = np.concatenate([flat[:3], slide, at[None], flat[3:]])
    return at, columns.reshape(len(columns), -1).T
