"""Head pose and canonical shape: the head as a rigid body with a deforming face.

Landmarks ``L`` (``[478, 3]``, any space with square pixels) are modelled as ``L = s * C @ R.T + (t,
tz)``. ``R`` is the head's rotation, ``s`` and ``t`` its scale and position, ``C`` the landmarks in
the head's own frame. ``R, s, t`` are the similarity that best maps the mean face's rigid points
onto ``L`` (Umeyama, "Least-squares estimation of transformation parameters between two point
patterns", TPAMI 1991).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.types import Float, HeadPose

GEOMETRY_FILE = Path(__file__).parents[1] / "assets" / "face_geometry.npz"

# Landmarks that expressions move least: forehead, temples, nose bridge and sides, eye corners.
# fmt: off
RIGID = np.array([
    10, 151, 9, 8, 67, 109, 338, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454,
    168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 129, 358,
])
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceGeometry:
    """Statistics of the tracker's output over many people.

    ``training.data.statistics`` computes them.
    """

    mean: Float
    """``[478, 3]``: the mean face. Its rigid points are centred and have a root mean square
    distance of 1."""
    mirror: np.ndarray
    """int ``[478]``: index of the mirrored landmark on the other side of the face."""
    shape_from_expression: Float
    """``[52, 478, 3]``: canonical displacement per unit of each blendshape (ridge regression)."""


@cache
def face_geometry() -> FaceGeometry:
    """Load the bundled statistics, once."""
    with np.load(GEOMETRY_FILE) as data:
        return FaceGeometry(
            mean=data["mean"],
            mirror=data["mirror"],
            shape_from_expression=data["shape_from_expression"].astype(np.float32),
        )


def fit_similarity(source: Float, target: Float) -> tuple[Float, Float, Float]:
    """Return the similarity that maps source to target.

    Rotation ``[..., 3, 3]``, scale ``[...]`` and translation ``[..., 3]``.

    Args:
        source: ``[N, 3]``, centred.
        target: ``[..., N, 3]``.
    """
    centre = target.mean(axis=-2)
    # Umeyama, "Least-squares estimation of transformation parameters", PAMI 1991.
    covariance = np.swapaxes(target - centre[..., None, :], -1, -2) @ source
    u, d, vt = np.linalg.svd(covariance)
    # Flip the weakest axis where the product would be a reflection (Umeyama's S).
    sign = np.ones_like(d)
    sign[..., 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (d * sign).sum(axis=-1) / (source**2).sum()
    return rotation, scale, centre


def head_pose(landmarks: Float) -> HeadPose:
    """Return the pose of a face in the space of its landmarks ``[478, 3]``."""
    rotation, scale, centre = fit_similarity(face_geometry().mean[RIGID], landmarks[RIGID])
    return HeadPose(
        rotation=rotation.astype(np.float32),
        translation=centre[:2].astype(np.float32),
        scale=float(scale),
    )


def canonical_shape(landmarks: Float, pose: HeadPose) -> Float:
    """Return the landmarks in the head's own frame, ``[478, 3]``: the inverse of `place`."""
    centred = landmarks.astype(np.float32, copy=True)
    centred[:, :2] -= pose.translation
    # The tracker's depth has no absolute origin, so the rigid points' mean is taken as one.
    centred[:, 2] -= landmarks[RIGID, 2].mean()
    return (centred @ pose.rotation) / np.float32(pose.scale)


def place(shape: Float, pose: HeadPose) -> Float:
    """Return a canonical shape ``[N, 3]`` in a pose; z counts from the rigid points' mean depth."""
    out = shape @ (pose.rotation.T * np.float32(pose.scale))
    out[:, :2] += pose.translation
    return out


def scaled_rotation(rotation: Float, gain: float, limit_rad: float) -> Float:
    """Return the rotation ``[3, 3]`` by ``gain`` times the angle, at most ``limit_rad``."""
    # The length of a rotation vector is the angle.
    vector, _ = cv2.Rodrigues(rotation.astype(np.float64))
    vector = vector * gain
    angle = float(np.linalg.norm(vector))
    if angle > limit_rad:
        vector = vector * (limit_rad / angle)
    return cv2.Rodrigues(vector)[0].astype(np.float32)
