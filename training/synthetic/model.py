"""The ICT face model: identity and expression coefficients to vertices and normals.

Space: *head* is the model's own, centimetres, x to the subject's left (right in the picture), y up,
z out of the face. Shape letters: V = vertices, T = triangles, M = modes or shapes.
The model is USC ICT's light ICT-FaceKit (MIT licence), packed as one npz.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError

Float: TypeAlias = npt.NDArray[np.floating[Any]]
"""float32 where it is stored or uploaded; sampling and set-up may be float64."""
Int: TypeAlias = npt.NDArray[np.int32]

MODEL_VARIABLE = "MIMICAM_ICT_MODEL"
REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_MODEL = REPOSITORY.parent / "shared" / "data" / "ict_face_model.npz"
Pairs = tuple[tuple[int, int], ...]
_LID_PAIRS: dict[str, Pairs] = {"L": ((43, 47), (44, 46)), "R": ((37, 41), (38, 40))}
"""Pairs of iBUG landmarks on upper and lower lid."""
_LID_OVERLAP = 1.07
_SINK_CM = 0.35
"""Depth, cm, that eyes are moved back under closed lids. The lids' linear shapes ignore the cornea,
so on some people the eye would stick out through them."""
EYE_MATERIALS = ("M_ScleraLeft", "M_ScleraRight")


def find_model(path: Path | None = None) -> Path:
    """Return the model's file: ``path``, else $MIMICAM_ICT_MODEL, else ../shared/data beside the
    repository.

    Raises:
        EngineError: none of them is there.
    """
    named = path or (Path(os.environ[MODEL_VARIABLE]) if os.environ.get(MODEL_VARIABLE) else DEFAULT_MODEL)
    if not named.is_file():
        raise EngineError(
            f"no face model at {named}: pass --model or set {MODEL_VARIABLE} to ict_face_model.npz"
        )
    return named


@dataclass(frozen=True, kw_only=True)
class FaceModel:
    """The linear face model, float32, ready for matrix products."""

    neutral: Float
    """``[V, 3]`` head space, cm."""
    identity_modes: Float
    """``[60, V * 3]``; coefficients are standard normal."""
    expression_shapes: Float
    """``[57, V * 3]``; weights are 0..1."""
    expression_names: tuple[str, ...]
    triangles: Int
    """``[T, 3]`` vertex indices, counter-clockwise seen from outside."""
    triangle_uv: Int
    """``[T, 3]`` indices into ``uv``."""
    uv: Float
    """``[U, 2]``; the integer part is the material's tile."""
    triangle_material: npt.NDArray[np.uint8]
    """``[T]`` indices into ``materials``."""
    materials: tuple[str, ...]
    landmarks: Int
    """``[68]`` vertex indices, iBUG order."""

    @classmethod
    def load(cls, path: Path | None = None) -> FaceModel:
        """Read the npz.

        Raises:
            EngineError: it is missing, or another file.
        """
        file = find_model(path)
        with np.load(file, allow_pickle=False) as npz:
            missing = {"vertices", "identity", "expression", "landmarks68"} - set(npz.files)
            if missing:
                raise EngineError(f"{file.name} is not the packed ICT model: it lacks {sorted(missing)}")
            return cls._from_arrays(npz)

    @classmethod
    def _from_arrays(cls, npz: Any) -> FaceModel:
        modes = npz["identity"]
        return cls(
            neutral=npz["vertices"].astype(np.float32),
            identity_modes=modes.reshape(len(modes), -1).astype(np.float32),
            expression_shapes=npz["expression"].reshape(len(npz["expression"]), -1).astype(np.float32),
            expression_names=tuple(map(str, npz["expression_names"])),
            triangles=npz["triangles"].astype(np.int32),
            triangle_uv=npz["triangle_uv"].astype(np.int32),
            uv=npz["uv"].astype(np.float32),
            triangle_material=npz["triangle_material"],
            materials=tuple(map(str, npz["materials"])),
            landmarks=npz["landmarks68"].astype(np.int32),
        )

    @cached_property
    def expression_index(self) -> dict[str, int]:
        """Return the index of each shape by its name."""
        return {name: i for i, name in enumerate(self.expression_names)}

    def weights(self, **named: float) -> Float:
        """Make expression weights ``[57]`` from names; ``eyeBlink=1`` sets both sides of a
        two-sided shape."""
        out = np.zeros(len(self.expression_names), np.float32)
        for name, value in named.items():
            sides = [name] if name in self.expression_index else [f"{name}_L", f"{name}_R"]
            for side in sides:
                out[self.expression_index[side]] = value
        return out

    def identity(self, coefficients: Float) -> Float:
        """Compute the neutral face ``[V, 3]`` of a person with these ``[60]`` coefficients."""
        return self.neutral + (coefficients @ self.identity_modes).reshape(-1, 3)

    def express(self, neutral: Float, weights: Float, gaze_rad: Float) -> Float:
        """Put an expression on a neutral face and turn its eyes.

        Args:
            neutral: ``[V, 3]`` from ``identity``.
            weights: ``[57]``, 0..1.
            gaze_rad: ``[2]``, yaw to the subject's left and pitch up, of both eyes, in the head's
                frame.
        """
        applied = weights.copy()
        # Weight 1 of a blink closes every person's lids, see `lid_travel`.
        for side, factor in zip("LR", self.lid_travel(neutral), strict=True):
            applied[self.expression_index[f"eyeBlink_{side}"]] *= factor
        active = np.flatnonzero(applied)
        shaped = neutral + (applied[active] @ self.expression_shapes[active]).reshape(-1, 3)
        for vertices, side in zip(self.eye_vertices, "LR", strict=True):
            ball = neutral[vertices]
            centre = eyeball_centre(ball)
            # Eyeballs turn about their own centres; no shape moves them.
            shaped[vertices] = (ball - centre) @ gaze_rotation(gaze_rad).T + centre
            closed = float(weights[self.expression_index[f"eyeBlink_{side}"]])
            # Eases in with the blink: steep at first, flat when closed.
            shaped[vertices, 2] -= _SINK_CM * closed * (2 - closed)
        return shaped

    def lid_travel(self, neutral: Float) -> tuple[float, float]:
        """Return the factors on the blink shapes that close this person's left and right eye.

        The shapes move every lid by the template's opening; on 12 of 14 people drawn from the modes
        that leaves a slit. A weight of 1 must mean closed, so it is scaled by opening over travel
        at the middle of the lids.
        """
        left, right = (self._lid_travel(neutral, pairs, f"eyeBlink_{s}") for s, pairs in _LID_PAIRS.items())
        return left, right

    def _lid_travel(self, neutral: Float, pairs: Pairs, name: str) -> float:
        shape = self.expression_shapes[self.expression_index[name]].reshape(-1, 3)
        upper, lower = (self.landmarks[[pair[i] for pair in pairs]] for i in (0, 1))
        opening = neutral[upper, 1] - neutral[lower, 1]
        travel = shape[lower, 1] - shape[upper, 1]
        return float(np.clip(_LID_OVERLAP * (opening / travel).max(), 0.9, 1.7))

    @cached_property
    def eye_vertices(self) -> tuple[Int, Int]:
        """Return the vertex indices of the left and the right eyeball."""
        left, right = (self.material_vertices(name) for name in EYE_MATERIALS)
        return left, right

    def material_triangles(self, name: str) -> Int:
        """Return the indices ``[n]`` of a material's triangles."""
        return np.flatnonzero(self.triangle_material == self.materials.index(name)).astype(np.int32)

    def material_vertices(self, name: str) -> Int:
        """Return the sorted vertex indices of a material."""
        return np.unique(self.triangles[self.material_triangles(name)])


def eyeball_centre(ball: Float) -> Float:
    """Compute the centre ``[3]`` of an eyeball's vertices ``[n, 3]``: the cornea bulges, so z is
    measured from behind."""
    low, high = ball.min(0), ball.max(0)
    centre = (low + high) / 2
    centre[2] = low[2] + (high[1] - low[1] + high[0] - low[0]) / 4
    return np.asarray(centre.astype(np.float32))


def gaze_rotation(gaze_rad: Float) -> Float:
    """Compute the rotation ``[3, 3]`` of +z to yaw (towards +x) and pitch (towards +y)."""
    (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in gaze_rad)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return np.asarray((yaw @ pitch).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class NormalPlan:
    """The order in which triangle normals are summed at vertices; built once per topology."""

    triangles: Int
    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    touched: npt.NDArray[np.int64]

    @classmethod
    def build(cls, triangles: Int) -> NormalPlan:
        """Sort the corners of ``[T, 3]`` triangles by vertex."""
        # All corners sorted by vertex: a vertex's triangles become one slice, and reduceat sums
        # them.
        corners = triangles.T.reshape(-1)
        by_vertex = np.argsort(corners, kind="stable")
        touched, starts = np.unique(corners[by_vertex], return_index=True)
        return cls(
            triangles=triangles,
            order=by_vertex % len(triangles),
            starts=starts,
            touched=touched.astype(np.int64),
        )

    def normals(self, vertices: Float) -> Float:
        """Compute area-weighted unit normals ``[V, 3]``; zero where no triangle touches a
        vertex."""
        a, b, c = (vertices[self.triangles[:, i]] for i in range(3))
        u, v = b - a, c - a
        cross = np.empty_like(u)
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            cross[:, i] = u[:, j] * v[:, k] - u[:, k] * v[:, j]
        sums = np.add.reduceat(cross[self.order], self.starts, axis=0)
        # The constant guards triangles without area.
        sums /= np.sqrt(np.einsum("ij,ij->i", sums, sums))[:, None] + np.float32(1e-12)
        out = np.zeros_like(vertices)
        out[self.touched] = sums
        return out
