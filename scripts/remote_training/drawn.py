"""A pack of drawn noise with plausible face motion, for rehearsals and for measuring speed."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.types import Float
from scripts.remote_training.portable import PortablePack

_HEAD_SCALE = 0.4
_PEOPLE, _FRAMES = 6, 12


def drawn_pack(size: int) -> PortablePack:
    """Draw six people of twelve frames ``[size, size, 3]``; the last one is for validation."""
    rng = np.random.default_rng(7)
    count = _PEOPLE * _FRAMES
    blendshapes = rng.uniform(0, 0.6, (count, 52)).astype(np.float32)
    person = np.repeat(np.arange(_PEOPLE), _FRAMES)
    return PortablePack(
        name="drawn",
        frames=rng.integers(0, 256, (count, size, size, 3), np.uint8),
        landmarks=_landmarks(blendshapes, rng),
        blendshapes=blendshapes,
        segment=person,
        same_pose_group=np.arange(count),
        is_synthetic=np.zeros(count, bool),
        validation=person == _PEOPLE - 1,
    )


def _landmarks(blendshapes: Float, rng: np.random.Generator) -> Float:
    """Draw the mean face with expressions, turned by up to 0.3 rad about the vertical,
    ``[N, 478, 3]``."""
    geometry = face_geometry()
    shapes = geometry.mean + np.tensordot(blendshapes, geometry.shape_from_expression, axes=(1, 0))
    yaw = rng.uniform(-0.3, 0.3, len(shapes))
    turn = np.zeros((len(shapes), 3, 3))
    # Rotation about the vertical axis.
    turn[:, 0, 0], turn[:, 0, 2] = np.cos(yaw), -np.sin(yaw)
    turn[:, 2, 0], turn[:, 2, 2] = np.sin(yaw), np.cos(yaw)
    turn[:, 1, 1] = 1
    placed: Float = (_HEAD_SCALE * shapes @ turn.transpose(0, 2, 1)).astype(np.float32)
    return placed
