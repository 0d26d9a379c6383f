"""Render two expressions by two poses of one head: the true pictures for the modes exp, pose and
both."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.model import FaceModel, Float
from mimicam.training.synthetic.people import draw_person
from mimicam.training.synthetic.render import Renderer
from mimicam.training.synthetic.sample import Expression, ExpressionSampler, draw_pose
from mimicam.training.synthetic.scene import Person, Pose, project

ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(expression, pose) of the four pictures: source, exp target, pose target, both target."""


@dataclass(frozen=True, kw_only=True)
class Quadruple:
    """One head, rendered four times.

    Poses are in the space of ``engine.types.HeadPose`` (x right, y down, z away).
    """

    images: npt.NDArray[np.uint8]
    """``[4, S, S, 3]`` RGB, in ORDER."""
    expressions: Float
    """``[2, 57]`` weights of the ICT shapes, 0..1."""
    gaze_rad: Float
    """``[2, 2]`` yaw to the subject's left, pitch up, in the head's frame."""
    rotations: Float
    """``[2, 3, 3]`` crop_from_head."""
    translations_cm: Float
    """``[2, 3]``: translation of the head's pivot from rest, x right, y down, z away."""
    landmarks_px: Float
    """``[4, 68, 2]`` iBUG order, exact; (0, 0) is the centre of the first pixel."""


FIELDS = tuple(field.name for field in fields(Quadruple))


class Generator:
    """Draws and renders quadruples.

    The same seed and index give the same quadruple on the same renderer.
    """

    def __init__(self, model: FaceModel, renderer: Renderer) -> None:
        self._model = model
        self._renderer = renderer
        self._sampler = ExpressionSampler(model)

    def __call__(self, seed: int, index: int) -> Quadruple:
        """Render quadruple number ``index`` of stream ``seed``; the order of calls does not
        matter."""
        rng = np.random.default_rng([seed, index])
        person = draw_person(rng, len(self._model.identity_modes))
        first = self._sampler.draw(rng)
        expressions = (first, self._sampler.change(first, rng))
        return self.render(person, expressions, (draw_pose(rng), draw_pose(rng)))

    def render(
        self, person: Person, expressions: tuple[Expression, Expression], poses: tuple[Pose, Pose]
    ) -> Quadruple:
        """Render the four pictures of one person."""
        self._renderer.enter(person)
        size = self._renderer.size_px
        images = np.empty((4, size, size, 3), np.uint8)
        marks = np.empty((4, len(self._model.landmarks), 2), np.float32)
        for e, expression in enumerate(expressions):
            # An expression is uploaded once and drawn in both poses.
            vertices = self._renderer.express(expression.weights, expression.gaze_rad)
            for p, pose in enumerate(poses):
                place = ORDER.index((e, p))
                images[place] = self._renderer.draw(pose)
                marks[place] = project(vertices[self._model.landmarks], pose, person.lens, size)
        return Quadruple(
            images=images,
            expressions=np.stack([e.weights for e in expressions]),
            gaze_rad=np.stack([e.gaze_rad for e in expressions]),
            rotations=np.stack([p.crop_rotation() for p in poses]),
            # The model's y points up and z to the camera; the engine's point the other way.
            translations_cm=np.stack([p.translation * np.array([1, -1, -1], np.float32) for p in poses]),
            landmarks_px=marks,
        )
