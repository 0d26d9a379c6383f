"""What the generator is told: where the control points are and go, and the two motion codes' inputs.

The same functions serve the live path and training, so that a model meets in use what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.stages.geometry import RIGID, canonical_shape, face_geometry, head_pose, place
from engine.stages.landmarks import BLENDSHAPE_LANDMARKS
from engine.types import Float, HeadPose, MotionCode

# Cheeks, chin and nose, which the blendshape network does not read.
# fmt: off
_EXTRA = np.array([
    50, 280, 205, 425, 101, 330, 116, 345, 36, 266, 147, 376, 192, 416, 212, 432, 214, 434,
    2, 98, 327, 129, 358, 9, 151, 164, 18, 200, 199, 175,
])
# fmt: on
CONTROL = np.concatenate([BLENDSHAPE_LANDMARKS, _EXTRA])
"""The landmarks that carry the flow, int ``[176]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One target for one portrait, in crop space."""

    source_points: Float
    """``[176, 3]``"""
    target_points: Float
    """``[176, 3]``"""
    affine: Float
    """``[2, 3]``, source_from_target: the best affine map of the rigid points."""
    head: Float
    """``[3]``: the target head's centre x, y and its scale."""
    expression: Float
    """``[2, 52]``: the portrait's own blendshapes, the target's."""
    pose: Float
    """``[2, 12]``: the portrait's own pose vector, the target's."""

    def arrays(self) -> tuple[Float, ...]:
        """In the order of the generator's inputs."""
        return (
            self.source_points, self.target_points, self.affine, self.head, self.expression, self.pose,
        )  # fmt: skip


def read_motion(landmarks: Float, blendshapes: Float) -> MotionCode:
    """Pose, canonical shape and expression of crop-space landmarks ``[478, 3]``."""
    pose = head_pose(landmarks)
    return MotionCode(expression=blendshapes, pose=pose, shape=canonical_shape(landmarks, pose))


def shape_change(expression_change: Float) -> Float:
    """Canonical displacement ``[478, 3]`` that a blendshape difference ``[52]`` brings on the mean face."""
    change: Float = np.tensordot(expression_change, face_geometry().shape_from_expression, axes=(0, 0))
    return change


def make_drive(source: MotionCode, target: MotionCode) -> Drive:
    """Points and codes that carry ``source`` to ``target`` (its shape with the source's identity)."""
    source_all = place(source.shape, source.pose)
    target_all = place(target.shape, target.pose)
    return Drive(
        source_points=source_all[CONTROL],
        target_points=target_all[CONTROL],
        affine=fit_affine(target_all[RIGID, :2], source_all[RIGID, :2]),
        head=np.array([*target.pose.translation, target.pose.scale], np.float32),
        expression=np.stack([source.expression, target.expression]),
        pose=np.stack([pose_vector(source.pose), pose_vector(target.pose)]),
    )


def pose_vector(pose: HeadPose) -> Float:
    """``[12]``: the rotation's nine entries, the place, and the log of the scale (near 0 for a usual crop)."""
    out = np.empty(12, np.float32)
    out[:9] = pose.rotation.ravel()
    out[9:11] = pose.translation
    out[11] = np.log(pose.scale) + 1.0
    return out


def fit_affine(source: Float, target: Float) -> Float:
    """Least-squares ``[2, 3]`` with ``target = A @ (x, y, 1)``; points ``[N, 2]``."""
    homogeneous = np.concatenate([source, np.ones((len(source), 1), np.float32)], axis=1)
    normal = homogeneous.T @ homogeneous + 1e-6 * np.eye(3, dtype=np.float32)
    solution: Float = np.linalg.solve(normal, homogeneous.T @ target).T.astype(np.float32)
    return solution
