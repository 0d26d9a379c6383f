"""Conditioning of the compact generator: control points, and the inputs of both motion codes.

Live use and training call the same functions, so that a model runs on the inputs it was trained on.
Only live, hidden points follow what covers them, lips that overlap touch, and teeth are exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.face.geometry import RIGID, place
from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS, INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.face.motion import pose_vector
from mimicam.engine.models.compact.hidden_points import CoveredPoints
from mimicam.engine.models.compact.lips import inner_outline, touching
from mimicam.engine.models.compact.mouth import LAYERS, Mouth, MouthPainter
from mimicam.engine.models.compact.mouth_colours import WHITE_LIGHT, MouthColours, mouth_colours
from mimicam.engine.models.compact.rasterise import MaskRasteriser
from mimicam.engine.models.compact.rigid_hair import CELLS, HairMotion, RigidHair
from mimicam.engine.models.compact.spec import CONDITIONING
from mimicam.engine.models.compact.teeth import paint_teeth
from mimicam.engine.stages.eye_warp import between
from mimicam.engine.types import EyeShift, Float, Image, MotionCode

# Cheeks, chin and nose, which the blendshape network does not read.
# fmt: off
_EXTRA = np.array([
    50, 280, 205, 425, 101, 330, 116, 345, 36, 266, 147, 376, 192, 416, 212, 432, 214, 434,
    2, 98, 327, 129, 358, 9, 151, 164, 18, 200, 199, 175,
])
CONTROL = np.concatenate([BLENDSHAPE_LANDMARKS, _EXTRA])
"""Landmarks that carry the flow, int ``[176]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """Buffer pools of one portrait's conditionings."""

    opening_masks: BufferPool[np.float32]
    mouths: BufferPool[np.float32]
    hair: BufferPool[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Generator inputs of one target for one portrait, in crop space."""

    source_points: Float
    """``[176, 3]``. Points that the target hides follow those that cover them."""
    target_points: Float
    """``[176, 3]``"""
    affine: Float
    """``[2, 3]``, source_from_target: best affine map of the rigid points, from the pose alone. It
    is exactly the identity while the head keeps its pose, whatever the face does."""
    head: Float
    """``[3]``: centre x, y and scale of the target's head."""
    expression: Float
    """``[2, 52]``: blendshapes of the portrait, then of the target."""
    pose: Float
    """``[2, 12]``: pose vector of the portrait, then of the target."""
    opening_masks: Float
    """``[6, S/2, S/2]`` in 0..1. Inside of the lips and between the lids, of the target and then of
    the portrait. Last, the upper and lower teeth in the target's mouth. What opens there is not in
    the portrait, so it has to be inpainted, not stretched."""
    source_shows_teeth: Float
    """``[1]``: where the portrait's mouth and the target's are open, 1 shows the portrait's own teeth,
    -1 the painted ones, and 0 what the generator chooses."""
    mouth: Mouth = field(compare=False)
    """Painted inside of the mouth; not an input of the generator."""
    hair: HairMotion | None = field(default=None, compare=False)
    """Motion of the hair; not an input of the generator. None: it follows the generator, since it
    cannot be told from the background."""
    eyes: tuple[EyeShift, ...] = ()
    """Shifts of the irises in the finished picture; not an input of the generator."""
    maps: Buffers = field(repr=False, compare=False)
    """Pools of the maps. Maps of a conditioning that is still in use are not overwritten."""

    def tensors(self) -> dict[str, Float]:
        """Return the generator's inputs besides the portrait's features, by name."""
        return {name: getattr(self, name) for name in CONDITIONING}

    def towards(self, other: Conditioning, share: float) -> Conditioning:
        """See `engine.stages.lost.Target.towards`."""
        mixed = {
            name: ((1 - share) * getattr(self, name) + share * getattr(other, name)).astype(np.float32)
            for name in (
                "source_points", "target_points", "affine", "head", "expression", "pose", "source_shows_teeth",
            )
        }
        opening_masks = _between(self.opening_masks, other.opening_masks, share, self.maps.opening_masks)
        mouth = self.mouth.between(other.mouth, share, self.maps.mouths.take())
        eyes, hair = between(self.eyes, other.eyes, share), other.hair
        if self.hair is not None and hair is not None:
            hair = self.hair.between(hair, share, self.maps.hair.take())
        return replace(other, opening_masks=opening_masks, mouth=mouth, eyes=eyes, hair=hair, **mixed)


def build_conditioning(source: MotionCode, target: MotionCode, *, map_px: int = 128) -> Conditioning:
    """Return the conditioning that carries ``source`` to ``target``.

    ``target``: a motion whose shape has the source's identity.

    ``map_px``: side of the maps of openings, half of the model's picture.
    """
    return ConditioningBuilder(source, map_px=map_px)(target)


class ConditioningBuilder:
    """Builds the conditionings of one source, whose own part is computed once."""

    def __init__(
        self,
        source: MotionCode,
        *,
        map_px: int,
        buffers: int = 1,
        colours: MouthColours = WHITE_LIGHT,
        hair: RigidHair | None = None,
    ) -> None:
        """See `build_conditioning`.

        Args:
            source: the portrait's own motion.
            map_px: side of the maps of openings.
            buffers: number of conditionings whose maps are allocated in advance.
            colours: colours of its teeth and gums.
            hair: computes the motion of its hair, where that is known from the background.
        """
        self._shape, self._landmarks = source.shape, place(source.shape, source.pose)
        self._points = self._landmarks[CONTROL]
        self._covered = CoveredPoints(self._points)
        self._expression, self._pose = source.expression, pose_vector(source.pose)
        self._openings = draw_opening_masks(self._landmarks, map_px)
        self._canvas = MaskRasteriser(map_px)
        self._mouth = MouthPainter(source, 2 * map_px, colours)
        self._hair = hair
        self._maps = Buffers(
            opening_masks=BufferPool((6, map_px, map_px), np.float32, buffers),
            mouths=BufferPool((LAYERS, 2 * map_px, 2 * map_px), np.float32, buffers),
            hair=BufferPool((CELLS, CELLS), np.float32, buffers),
        )

    def __call__(self, target: MotionCode) -> Conditioning:
        """Return the conditioning of a target."""
        # `carried` is the source's shape in the target's pose: the affine map follows the pose
        # alone.
        landmarks, carried = (place(shape, target.pose) for shape in (target.shape, self._shape))
        lips = touching(target.shape, landmarks)
        mouth = self._mouth(target, lips, self._maps.mouths.take())
        affine = fit_affine(carried[RIGID, :2], self._landmarks[RIGID, :2])
        points = landmarks[CONTROL]
        return Conditioning(
            source_points=self._covered(points, affine),
            target_points=points,
            affine=affine,
            head=np.array([*target.pose.translation, target.pose.scale], np.float32),
            expression=np.stack([self._expression, target.expression]),
            pose=np.stack([self._pose, pose_vector(target.pose)]),
            opening_masks=self._draw(target, lips),
            source_shows_teeth=np.array([self._mouth.own_teeth(target)], np.float32),
            mouth=mouth,
            hair=None if self._hair is None else self._hair(target, landmarks, self._maps.hair.take()),
            maps=self._maps,
        )

    def _draw(self, target: MotionCode, landmarks: Float) -> Float:
        # Two openings of the target, two of the source, two rows of the target's teeth.
        out = self._maps.opening_masks.take()
        paint_opening_masks(landmarks, canvas=self._canvas, out=out[:2])
        out[2:4] = self._openings
        paint_teeth(target, out[0], canvas=self._canvas, out=out[4:])
        return out


def draw_opening_masks(landmarks: Float, size_px: int) -> Float:
    """Return masks ``[2, size, size]`` in 0..1: inside of the lips, and between the lids.

    ``landmarks``: ``[478, 3]``, crop space.
    """
    out = np.empty((2, size_px, size_px), np.float32)
    paint_opening_masks(landmarks, canvas=MaskRasteriser(size_px), out=out)
    return out


def paint_opening_masks(landmarks: Float, *, canvas: MaskRasteriser, out: Float) -> None:
    """Draw the masks of `draw_opening_masks` into ``out``; ``canvas`` has the masks' size."""
    points = canvas.points(landmarks)
    lips = [canvas.points(inner_outline(landmarks[INNER_LIPS, :2]))]
    lids = [points[RIGHT_LIDS], points[LEFT_LIDS]]
    for layer, loops in zip(out, (lips, lids), strict=True):
        canvas.clear()
        canvas.fill(loops)
        canvas.average(layer)


def read_mouth_colours(own: MotionCode, crop: Image) -> MouthColours:
    """Return the mouth's colours in a portrait's crop ``[S, S, 3]``; ``own``: its motion there."""
    landmarks, side = place(own.shape, own.pose), len(crop)
    return mouth_colours(crop, (landmarks + 1) * (side / 2) - 0.5, draw_opening_masks(landmarks, side)[0])


def fit_affine(source: Float, target: Float) -> Float:
    """Return the least-squares ``[2, 3]`` with ``target = A @ (x, y, 1)``; points ``[N, 2]``."""
    homogeneous = np.concatenate([source, np.ones((len(source), 1), np.float32)], axis=1)
    # The small ridge keeps the system solvable if all points coincide.
    normal = homogeneous.T @ homogeneous + 1e-6 * np.eye(3, dtype=np.float32)
    solution: Float = np.linalg.solve(normal, homogeneous.T @ target).T.astype(np.float32)
    return solution


def _between(a: Float, b: Float, share: float, pool: BufferPool[np.float32]) -> Float:
    out, rest = pool.take(), pool.take()
    np.multiply(a, 1 - share, out=out)
    np.multiply(b, share, out=rest)
    out += rest
    return out
