"""Motion codes of many faces as tensors on one device; see `engine.types.MotionCode`."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.face.expression_filter import displacements
from mimicam.engine.face.geometry import RIGID, face_geometry, fit_similarity
from mimicam.engine.types import Float, HeadPose, MotionCode
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

    def at(self, *index: Tensor) -> Motions:
        """Return the motions at these indices."""
        return Motions(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

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

    def codes(self) -> list[MotionCode]:
        """Copy the motions to the CPU, in the form of the live path."""
        parts = (
            self.rotation.flatten(1),
            self.translation,
            self.scale[:, None],
            self.shape.flatten(1),
            self.expression,
        )
        rows = torch.cat(parts, dim=1).cpu().numpy()  # one copy, one wait
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        return [_code(*np.split(row, ends)) for row in rows]

    def pose_vector(self) -> Tensor:
        """Compute ``[B, 12]``; see `engine.face.motion.pose_vector`."""
        size = self.scale.log()[:, None] + 1
        return torch.cat([self.rotation.flatten(1), self.translation, size], dim=1)


def _code(rotation: Float, translation: Float, scale: Float, shape: Float, expression: Float) -> MotionCode:
    pose = HeadPose(rotation=rotation.reshape(3, 3), translation=translation, scale=float(scale[0]))
    return MotionCode(expression=expression, pose=pose, shape=shape.reshape(-1, 3))


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
