"""Motion of one face: pose, expression and canonical shape (DPE, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.face.geometry import canonical_shape, face_geometry, head_pose, scaled_rotation
from mimicam.engine.types import Float, HeadPose, MotionCode


def read_motion(landmarks: Float, blendshapes: Float) -> MotionCode:
    """Return pose, canonical shape and expression of crop-space landmarks ``[478, 3]``."""
    pose = head_pose(landmarks)
    return MotionCode(expression=blendshapes, pose=pose, shape=canonical_shape(landmarks, pose))


def shape_change(expression_change: Float) -> Float:
    """Return how a blendshape change ``[52]`` displaces the mean face, canonical ``[478, 3]``."""
    change: Float = np.tensordot(expression_change, face_geometry().shape_from_expression, axes=(0, 0))
    return change


def with_added(motion: MotionCode, added: Float) -> MotionCode:
    """Return the motion with blendshapes ``[52]`` added, within 0..1, in its landmarks too."""
    expression = np.clip(motion.expression + added, 0.0, 1.0).astype(np.float32)
    shape = motion.shape + shape_change(expression - motion.expression)
    return replace(motion, expression=expression, shape=shape)


def pose_vector(pose: HeadPose) -> Float:
    """Return ``[12]``: the rotation's nine entries, the position, and the log of the scale plus 1.

    The log of the scale plus 1 is near 0 for a usual crop.
    """
    out = np.empty(12, np.float32)
    out[:9] = pose.rotation.ravel()
    out[9:11] = pose.translation
    # The log makes equal ratios equal; plus 1, since heads fill about 1/e of the crop.
    out[11] = np.log(pose.scale) + 1.0
    return out


def between(a: MotionCode, b: MotionCode, share: float) -> MotionCode:
    """Interpolate two motions of one face: a share of 0 gives ``a``, 1 gives ``b``."""
    # Turn along the arc, since a mean of two matrices is no rotation.
    turn = scaled_rotation(b.pose.rotation @ a.pose.rotation.T, share, np.pi)
    part = np.float32(share)
    return MotionCode(
        expression=a.expression + part * (b.expression - a.expression),
        shape=a.shape + part * (b.shape - a.shape),
        pose=HeadPose(
            rotation=turn @ a.pose.rotation,
            translation=a.pose.translation + part * (b.pose.translation - a.pose.translation),
            scale=a.pose.scale + share * (b.pose.scale - a.pose.scale),
        ),
    )
