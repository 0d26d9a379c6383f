"""Readings of a picture's face: a pose code, and the tracker's expression and head pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.base import ImageDrivenModel, RetrievalModel
from mimicam.engine.picture_file import read_picture
from mimicam.engine.portrait_face import find_face
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import Float, Image

TRACKED = 55
"""52 blendshapes, then yaw, pitch and roll in radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The face of one picture."""

    code: Float
    """See `compared`, float32 ``[P]``; empty without a model that has one."""
    tracked: Float
    """Float32 ``[55]``, see `TRACKED`."""


class ReadPicture(Protocol):
    """Reads the face of a picture file."""

    key: str
    """Hash of the weights that make the codes; empty without codes."""

    def __call__(self, path: Path) -> Reading:
        """Read it.

        Raises:
            EngineError: the file is no picture, or does not show one face.
        """


class FaceReading:
    """Reads pictures with the tracker, and with a model where one is given."""

    def __init__(self, model: ImageDrivenModel | None) -> None:
        self._model = model
        self.key = "" if model is None else model.sha256

    def __call__(self, path: Path) -> Reading:
        """See `ReadPicture`."""
        image, face, _ = find_face(read_picture(path), str(path))
        # The box of enrolment, so that codes are comparable with a portrait's.
        box = portrait_box(face)
        motion = read_motion(box.from_image(face.landmarks), face.blendshapes)
        tracked = np.concatenate([motion.expression, motion.pose.angles_rad()]).astype(np.float32)
        # Empty without a model: the tracker's reading serves alone.
        code = compared(self._model, cut(image, box, self._model.size)) if self._model else tracked[:0]
        return Reading(code=code, tracked=tracked)


def face_crop(path: Path, side: int) -> Image:
    """Cut the face out of a picture, uint8 ``[side, side, 3]``.

    Raises:
        EngineError: see `ReadPicture`.
    """
    image, face, _ = find_face(read_picture(path), str(path))
    return cut(image, portrait_box(face), side)


def compared(model: ImageDrivenModel, crop: Image) -> Float:
    """Return what a retrieval compares of a face, uint8 ``[S, S, 3]``: the model's retrieval embedding, or
    its codes."""
    if isinstance(model, RetrievalModel):
        return model.retrieval_embedding(crop)
    codes = model.read_motion(crop)
    return np.concatenate([codes.expression, codes.pose]).astype(np.float32)
