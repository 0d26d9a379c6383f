"""Re-render a fitted portrait over itself with another expression, with its own picture as texture.

For every sample of the new picture, the rasteriser finds the surface that it shows, and where the
portrait shows it. Skin is taken from there. Teeth, tongue and eyes are taken from the portrait
where it shows them, otherwise painted. Outside the face the motion of its border fades out; beyond
that the portrait's pixels are unchanged. Pixel (0, 0) is the centre of the first pixel. Shape
letters: V = vertices, K = 468 landmarks, S = samples per side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.correspondence import (
    EYES,
    FINE,
    MOUTH,
    SKIN,
    Correspondence,
    CorrespondenceRasteriser,
)
from mimicam.training.synthetic.fit import Fit
from mimicam.training.synthetic.landmark_map import LandmarkMap
from mimicam.training.synthetic.lip_lid_closure import Spread, seal
from mimicam.training.synthetic.mesh import RenderMesh, build_mesh
from mimicam.training.synthetic.model import FaceModel, Float, NormalPlan
from mimicam.training.synthetic.mouth_eye_interior import Openings, paint_eyes, paint_mouth
from mimicam.training.synthetic.occluded_skin import Neighbours, visible, with_ring

Image = npt.NDArray[np.uint8]
_REACH_PX = 32.0
"""Distance outside the face, pixels at 256, over which its motion fades out."""
_LIMIT_PX = 40.0
"""Distance from the landmarks' hull, pixels at 256, from which on the portrait is bit-identical."""
_STILL_PX = 0.03
_SINK_CM = 0.6
"""Depth, cm, of eyes under closed lids. Larger than in `training.synthetic.model`: fitted lids meet
less exactly."""
_CHIN = (-8.1, 10.5)
_JAW_RISE = 0.42
"""The template's jawline from the side: height and depth of the chin, cm, and its slope towards the
ear."""
_FRONT_CM = -1.0
"""Depth on the template, cm, in front of which hidden skin may be uncovered."""
_LIGHT = np.array([0.25, 0.45, 0.86])


@dataclass(frozen=True, kw_only=True)
class Rerendered:
    """A portrait with another expression."""

    image: Image
    """``[size, size, 3]`` RGB."""
    landmarks_px: Float
    """``[468, 2]``: where the tracker must find its landmarks."""
    painted: float
    """Share of the picture that the portrait does not show and that was painted: teeth, tongue,
    eyes."""


class Rerenderer:
    """Re-renders portraits of one size; ``enter`` one, then draw any number of expressions."""

    def __init__(self, model: FaceModel, marks: LandmarkMap, size_px: int = 256) -> None:
        self._model, self._marks, self._size = model, marks, size_px
        mesh = _face_only(build_mesh(model), model)
        self._rasterise = CorrespondenceRasteriser(mesh, size_px)
        self._normals = NormalPlan.build(model.triangles)
        faces = model.material_triangles("M_Face")
        self._skin = model.triangles[faces]
        self._may_hide = np.zeros(len(model.neutral), bool)
        self._may_hide[np.unique(self._skin)] = True
        self._may_hide &= model.neutral[:, 2] > _FRONT_CM
        self._spread = Spread.build(model, marks, np.unique(mesh.source))

    def enter(self, portrait: Image, fit: Fit, landmarks_px: Float) -> None:
        """Set the portrait ``[size, size, 3]``, its fit, and the tracker's landmarks
        ``[468 or more, 2 or more]``."""
        self._portrait, self._fit = portrait, fit
        self._correction = self._spread.smooth(fit.strays_px)
        self._openings = Openings.read(portrait, landmarks_px)
        self._base = self._uncovered(self._place(fit.expression, np.zeros_like(fit.strays_px)))

    def draw(self, expression: Float) -> Rerendered:
        """Draw the portrait with weights ``[57]``."""
        sealing = seal(self._fit, self._model, self._marks, expression)
        places = self._place(expression, sealing)
        vertices = self._vertices(expression)
        seen = self._rasterise(self._sunk(places, expression), self._base, self._shade(vertices))
        marks = self._marks.points(places)[:, :2]
        image, painted = self._compose(seen, self._limit(marks))
        return Rerendered(image=image, landmarks_px=marks.astype(np.float32), painted=painted)

    def _uncovered(self, places: Float) -> Float:
        """Compute the portrait's pixel of each vertex, ``[V, 2]``; hidden skin lies between the
        visible skin around it."""
        seen = self._rasterise(places, places[:, :2], places[:, 2])
        normals = self._normals.normals(self._vertices(self._fit.expression)) @ self._fit.camera.rotation.T
        inside = with_ring(self._skin, self._may_hide & self._openings.within(places[:, :2]))
        # Vertices that the portrait hides, or that lie in an opening of lips or lids.
        free = self._may_hide & (inside | ~visible(places, normals, seen))
        return Neighbours.of(self._skin, free).relax(places[:, :2])

    def _vertices(self, expression: Float) -> Float:
        active = np.flatnonzero(expression)
        moved = (expression[active] @ self._model.expression_shapes[active]).reshape(-1, 3)
        return np.asarray(self._fit.neutral + moved)

    def _place(self, expression: Float, sealing_K2: Float) -> Float:
        """Project the vertices to ``[V, 3]``: pixel x, y and distance."""
        places = self._fit.camera.place(self._vertices(expression))
        # What the fit missed, spread smoothly, and the closing of lips and lids, spread locally.
        places[:, :2] += self._correction + self._spread.local(sealing_K2)
        return places

    def _sunk(self, places: Float, expression: Float) -> Float:
        """Move eyes back under closed lids, whose linear shapes ignore the cornea."""
        out = places.copy()
        travel = self._model.lid_travel(self._fit.neutral)
        for vertices, side, most in zip(self._model.eye_vertices, "LR", travel, strict=True):
            closed = np.clip(expression[self._model.expression_index[f"eyeBlink_{side}"]] / most, 0, 1)
            out[vertices, 2] += _SINK_CM * closed * (2 - closed)
        return out

    def _shade(self, vertices: Float) -> Float:
        normals = self._normals.normals(vertices) @ self._fit.camera.rotation.T
        light = _LIGHT / np.linalg.norm(_LIGHT)
        return np.asarray(0.45 + 0.55 * np.clip(normals @ light, 0, 1))

    def _limit(self, marks_K2: Float) -> Float:
        """Mask ``[S, S]``: 1 on the face before or after, falling to 0 at a fixed distance."""
        # Hull of the face before and after: neither may be cut off.
        both = np.concatenate([self._marks.points(self._base), marks_K2]).astype(np.float32)
        hull = ((cv2.convexHull(both) + 0.5) * FINE).round().astype(np.int32)
        beside = np.ones((self._size * FINE,) * 2, np.uint8)
        cv2.fillConvexPoly(beside, hull, 0)
        return _fade(beside, _LIMIT_PX * FINE * self._size / 256)

    def _compose(self, seen: Correspondence, limit: Float) -> tuple[Image, float]:
        flow, moved = self._flow(seen, limit)
        grid = _grid(self._size)
        source = (grid + flow).astype(np.float32)
        fine = cv2.remap(
            self._openings.skin,
            source[..., 0],
            source[..., 1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        painted = 0.0
        for part, paint in ((EYES, paint_eyes), (MOUTH, paint_mouth)):
            mask = seen.part == part
            if mask.any():
                fine[mask], fetched = paint(seen, mask, self._openings)
                painted += float((1 - fetched).sum()) / mask.size
        drawn = cv2.resize(fine, (self._size,) * 2, interpolation=cv2.INTER_AREA)
        # Where nothing moves the portrait's own pixels stay, bit by bit.
        share = cv2.resize(moved, (self._size,) * 2, interpolation=cv2.INTER_AREA)[..., None]
        mixed = self._portrait * (1 - share) + drawn * share
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), painted

    def _flow(self, seen: Correspondence, limit: Float) -> tuple[Float, Float]:
        """Compute the flow to the portrait's pixels, ``[S, S, 2]``, and a mask of what moves,
        ``[S, S]`` in 0..1."""
        skin = seen.part == SKIN
        inner = (seen.part == EYES) | (seen.part == MOUTH)
        # Only skin moves by texture; eyes and mouth are painted over it below.
        flow: Float = np.where(skin[..., None], seen.portrait - _grid(self._size), 0).astype(np.float32)
        flow = _extended(flow, skin, self._size) * limit[..., None]
        moving = (np.hypot(flow[..., 0], flow[..., 1]) > _STILL_PX) | inner
        moving = cv2.dilate(moving.astype(np.uint8), np.ones((3, 3), np.uint8))
        return flow, cv2.blur(moving.astype(np.float32), (5, 5))


def _face_only(mesh: RenderMesh, model: FaceModel) -> RenderMesh:
    """Remove neck and back of the head from the mesh.

    A real chin ends some pixels off the model's, and a neck that stays still would show it twice.
    The surroundings of the face follow its border instead.
    """
    rest = mesh.attributes[:, :3]
    jaw = _CHIN[0] + _JAW_RISE * (_CHIN[1] - rest[:, 2])
    face = (mesh.attributes[:, 5] == model.materials.index("M_Face")) & (rest[:, 1] > jaw)
    skin = mesh.indices["skin"]
    return replace(mesh, indices={**mesh.indices, "skin": np.ascontiguousarray(skin[face[skin].all(1)])})


def _grid(size_px: int) -> Float:
    """Make the pixel coordinates ``[S, S, 2]`` of the samples."""
    along = (np.arange(size_px * FINE, dtype=np.float32) + 0.5) / FINE - 0.5
    return np.stack(np.meshgrid(along, along), 2)


def _extended(flow: Float, known: npt.NDArray[np.bool_], size_px: int) -> Float:
    """Extend the motion of the face's border outwards, smoothly, and fade it out.

    Computed at the picture's size.
    """
    unit = size_px / 256
    # Normalised convolution: blur flow times mask and the mask, then divide.
    weighted = np.concatenate([flow, np.ones_like(flow[..., :1])], 2) * known[..., None]
    base = cv2.resize(weighted.astype(np.float32), (size_px,) * 2, interpolation=cv2.INTER_AREA)
    filled = base[..., 2] > 0.5
    out: Float = base[..., :2] / np.maximum(base[..., 2:], 1e-6) * filled[..., None]
    # Fill from near to far: each wider blur fills only what the narrower ones have not reached.
    for sigma in (1.5, 4.0, 10.0, 24.0):
        blurred = _blur(base, sigma * unit, max(1, int(sigma * unit / 3)))
        take = ~filled & (blurred[..., 2] > 0.02)
        out[take] = blurred[take, :2] / blurred[take, 2:]
        filled |= take
    fade = _fade((base[..., 2] < 0.5).astype(np.uint8), _REACH_PX * unit)
    soft = cv2.GaussianBlur(out * fade[..., None], (0, 0), 2.0 * unit) * fade[..., None]
    fine = cv2.resize(soft, flow.shape[:2], interpolation=cv2.INTER_LINEAR)
    return np.where(known[..., None], flow, fine).astype(np.float32)


def _fade(beside: npt.NDArray[np.uint8], reach: float) -> Float:
    """Return 1 where ``beside`` is 0, falling smoothly to 0 at a distance of ``reach`` samples."""
    t = np.clip(1 - cv2.distanceTransform(beside, cv2.DIST_L2, 3) / reach, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _blur(values: Float, sigma: float, shrink: int) -> Float:
    """Blur by a Gaussian, on a smaller picture where sigma allows it."""
    side = values.shape[0]
    small = cv2.resize(values, (side // shrink,) * 2, interpolation=cv2.INTER_AREA) if shrink > 1 else values
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR))
