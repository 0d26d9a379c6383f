"""Motion codes of many faces as tensors on one device; see `engine.types.MotionCode`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.face.expression_filter import displacements
from mimicam.engine.face.geometry import RIGID, face_geometry, fit_similarity
from mimicam.engine.types import BLENDSHAPES, Float
from mimicam.training.data.geometry import mirrored_blendshapes


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Motion codes of many faces; see `engine.types.MotionCode`."""

    rotation: Tensor
    """``[..., 3, 3]``"""
    translation: Tensor
    """``[..., 2]``"""
    scale: Tensor
    """``[...]``"""
    shape: Tensor
    """``[..., 478, 3]``"""
    expression: Tensor
    """``[..., 52]``"""
    displacement: Tensor
    """``[..., 478, 3]``: what expression did to the shape; only differences mean anything. See
    `engine.face.expression_filter`."""

    def part(self, faces: slice) -> Motions:
        """Return the motions of some faces; no copy."""
        return Motions(**{f.name: getattr(self, f.name)[faces] for f in fields(self)})

    def joined(self, other: Motions) -> Motions:
        """Return the motions of these faces, then of the other ones."""
        return Motions(
            **{f.name: torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        )

    def after(self, count: int) -> Motions:
        """Return the motions that follow the first ``count``; after the last comes the first."""
        if count < len(self.scale):
            return self.part(slice(1, count + 1))
        return Motions(**{f.name: getattr(self, f.name).roll(-1, 0)[:count] for f in fields(self)})

    def moved(self, matrix_B23: Tensor) -> Motions:
        """Apply a similarity of the picture's plane: crop space after from crop space before."""
        linear, shift = matrix_B23[:, :, :2], matrix_B23[:, :, 2]
        scale = determinant(linear).sqrt()
        turn = torch.zeros_like(self.rotation)
        # A similarity of the plane is a roll of the head, a scale and a shift.
        turn[:, :2, :2] = linear / scale[:, None, None]
        turn[:, 2, 2] = 1
        return Motions(
            rotation=turn @ self.rotation,
            translation=(linear @ self.translation[:, :, None])[..., 0] + shift,
            scale=self.scale * scale,
            shape=self.shape,
            expression=self.expression,
            displacement=self.displacement,
        )

    def placed(self) -> Tensor:
        """Place the landmarks, ``[B, 478, 3]``; see `engine.face.geometry.place`."""
        points = self.shape @ (self.rotation.transpose(-1, -2) * self.scale[:, None, None])
        return torch.cat([points[..., :2] + self.translation[:, None], points[..., 2:]], dim=-1)

    def packed(self) -> Tensor:
        """Return one row of numbers per face, ``[..., D]``."""
        rows = [getattr(self, name).reshape(*self.scale.shape, -1) for name in _SHAPES]
        return torch.cat(rows, dim=-1)

    @classmethod
    def unpacked(cls, rows_BD: Tensor) -> Motions:
        """Return the motions in rows of `packed`; no copy."""
        parts = rows_BD.split([math.prod(shape) for shape in _SHAPES.values()], dim=1)
        shaped = zip(_SHAPES.items(), parts, strict=True)
        return cls(**{name: part.view(-1, *shape) for (name, shape), part in shaped})

    def pose_vector(self) -> Tensor:
        """Compute ``[B, 12]``; see `engine.face.motion.pose_vector`."""
        size = self.scale.log()[:, None] + 1
        return torch.cat([self.rotation.flatten(1), self.translation, size], dim=1)


_SHAPES: dict[str, tuple[int, ...]] = {
    "rotation": (3, 3),
    "translation": (2,),
    "scale": (),
    "shape": (478, 3),
    "expression": (BLENDSHAPES,),
    "displacement": (478, 3),
}
"""Shapes of one face's motion, in the order of `Motions.packed`."""


def read_motions(landmarks_NL3: np.ndarray, blendshapes: np.ndarray, pose_row: np.ndarray) -> Motions:
    """Fit all frames on the CPU: plain at index 0 of the first axis, mirrored at index 1.

    Args:
        pose_row: int ``[N]``, the frame whose head pose each frame takes.
    """
    geometry = face_geometry()
    # Left and right landmarks change places, and x its sign.
    mirrored = landmarks_NL3[:, geometry.mirror] * np.array([-1, 1, 1], np.float32)
    landmarks = np.stack([landmarks_NL3, mirrored]).astype(np.float32)
    fitted = fit_similarity(geometry.mean[RIGID], landmarks[:, :, RIGID])
    rotation, scale, centre = (part[:, pose_row] for part in fitted)
    # The pose is shared within a pose group, but depth is each frame's own.
    centre[..., 2] = fitted[2][..., 2]
    placed = (landmarks - centre[:, :, None]) @ rotation / scale[..., None, None]
    shape: Float = placed.astype(np.float32, copy=False)
    expression = np.stack([blendshapes, blendshapes[:, mirrored_blendshapes()]])
    arrays = {
        "rotation": rotation, "translation": centre[..., :2], "scale": scale, "shape": shape, "expression": expression,
        "displacement": displacements(shape, expression, rotation),
    }  # fmt: skip
    return Motions(
        **{name: torch.from_numpy(np.ascontiguousarray(a, np.float32)) for name, a in arrays.items()}
    )


def determinant(matrix_B22: Tensor) -> Tensor:
    """Compute determinants ``[B]``.

    ``torch.det`` would check for errors, which waits for the device.
    """
    return matrix_B22[:, 0, 0] * matrix_B22[:, 1, 1] - matrix_B22[:, 0, 1] * matrix_B22[:, 1, 0]
