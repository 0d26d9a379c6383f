"""Tracked faces made from the mean face, for tests of editing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.stages.neutral import resting_face
from mimicam.engine.types import Face, Float, HeadPose


def shapes(**amounts: float) -> Float:
    """Return the average resting blendshapes with some of them changed."""
    values = resting_face().expression.copy()
    for name, amount in amounts.items():
        values[BLENDSHAPE_NAMES.index(name)] = amount
    return values


def face(x_px: float, y_px: float, *, scale_px: float = 60.0, yaw_rad: float = 0.0, **amounts: float) -> Face:
    """Return the mean face at a place of the image, with an expression."""
    expression = shapes(**amounts)
    rotation = cv2.Rodrigues(np.array([0.0, yaw_rad, 0.0]))[0].astype(np.float32)
    pose = HeadPose(rotation=rotation, translation=np.array([x_px, y_px], np.float32), scale=scale_px)
    shape = face_geometry().mean + shape_change(expression - resting_face().expression)
    return Face(landmarks=place(shape, pose), blendshapes=expression, presence=1.0)


def track(faces: Sequence[Face | None], *, fps: float = 25.0) -> FaceTrack:
    """Return a track of faces at a constant rate."""
    return FaceTrack(times_s=np.arange(len(faces)) / fps, faces=list(faces))
