"""Find the one face of a still picture, set the picture upright, and read what is drawn of the face."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache

import numpy as np

from mimicam.engine.assets_manifest import known_response
from mimicam.engine.errors import EngineError
from mimicam.engine.face.still import StillFaceFinder, face_size_px
from mimicam.engine.models.base import CalibratedModel, Features, Model
from mimicam.engine.types import Face, Float, Image, MotionCode

_MIN_FACE_PX = 48
"""Smallest side of a picture and of a face, pixels."""
_FINDING = threading.Lock()
"""Serialises calls, since all callers share one detector and one landmark network."""
_TURNED = {
    1: "{} lay on its side and was turned by 90 degrees to the left",
    2: "{} stood on its head and was turned by 180 degrees",
    3: "{} lay on its side and was turned by 90 degrees to the right",
}
"""By quarter turns counter-clockwise."""


def find_face(image: Image, label: str) -> tuple[Image, Face, list[str]]:
    """Return the picture set upright, its face, and what a person should know of them.

    Args:
        image: RGB.
        label: what errors call the picture.

    Raises:
        EngineError: there is no face, more than one of about the same size, or one that is too
            small.
    """
    height, width = image.shape[:2]
    if min(height, width) < _MIN_FACE_PX:
        raise EngineError(
            f"{label} is {width}x{height} pixels: give one where the face is {_MIN_FACE_PX} or more"
        )
    with _FINDING:
        found = _finder()(image, smallest_px=_MIN_FACE_PX)
    if found is None:
        raise EngineError(
            f"{label} shows no face, or one in profile: give a picture of one with human proportions (painted or drawn "
            "too), from the front and well lit"
        )
    if found.rivals > 1:
        raise EngineError(f"{label} shows {len(found.faces)} faces: crop it to the one to animate")
    face = found.faces[0]
    if face_size_px(face) < _MIN_FACE_PX:
        raise EngineError(
            f"the face in {label} is only {face_size_px(face):.0f} pixels tall: give one where it is {_MIN_FACE_PX} or "
            "more"
        )
    upright = np.ascontiguousarray(np.rot90(image, found.quarter_turns))
    notes = [_TURNED[found.quarter_turns].format(label)] if found.quarter_turns else []
    return upright, face, notes


def with_response(
    features: Features, model: Model, picture: Image, crop: Image, motion: MotionCode | None
) -> Features:
    """Return the features with the portrait's response, if they lack it and the model measures one."""
    if features.response is not None or motion is None or not isinstance(model, CalibratedModel):
        return features
    response = known_response(picture, model.sha256)
    if response is None:
        response = model.measure_response(crop, motion, features, _read_near)
    return replace(features, response=response)


def _read_near(image: Image, landmarks: Float) -> Face | None:
    with _FINDING:
        return _finder().near(image, landmarks)


@cache
def _finder() -> StillFaceFinder:
    """Load the networks, once, since that takes half a second."""
    return StillFaceFinder()
