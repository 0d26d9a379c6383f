"""Find the one face of a still picture, set the picture upright, and read what is drawn of the
face."""

from __future__ import annotations

import math
import threading

import numpy as np

from mimicam.engine.assets_manifest import known_response
from mimicam.engine.errors import EngineError
from mimicam.engine.face.still import StillFaceFinder, face_size_px
from mimicam.engine.models.base import CalibratedModel, Features, Model
from mimicam.engine.types import CropBox, Face, Float, Image, MotionCode

_MIN_FACE_PX = 48
"""Smallest side of a picture and of a face, pixels."""
_SIDEWAYS_DEG = 25.0
"""Yaw of a portrait, degrees, from which head turns reveal its hidden side. At 20 a painting still
turns well, at 35 it breaks (20 portraits by 8 turns, judged by eye, 2026-11)."""
_TIGHT_SHARE = 0.15
"""Share of the crop that may lie outside of the picture, per side: the bundled portraits reach
0.11."""
_FINDING = threading.Lock()
"""Serialises calls, so that callers on several threads need one set of networks."""
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
        found = StillFaceFinder()(image, smallest_px=_MIN_FACE_PX)
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


def portrait_response(
    features: Features, model: Model, picture: Image, crop: Image, motion: MotionCode | None
) -> Float | None:
    """Return the portrait's response, known or measured; None if the model measures none."""
    if motion is None or not isinstance(model, CalibratedModel):
        return None
    # Bundled portraits come measured, by the hash of their pixels.
    known = known_response(picture, model.sha256)
    if known is not None:
        return known
    return model.measure_response(crop, motion, features, _read_near)


def _read_near(image: Image, landmarks: Float) -> Face | None:
    with _FINDING:
        return StillFaceFinder().near(image, landmarks)


def _tight_sides(image: Image, box: CropBox) -> list[str]:
    """Name the sides on which the picture ends well inside the crop."""
    height, width = image.shape[:2]
    missing_px = {
        "left": -box.x_px,
        "top": -box.y_px,
        "right": box.x_px + box.size_px - width,
        "bottom": box.y_px + box.size_px - height,
    }
    return [side for side, px in missing_px.items() if px > _TIGHT_SHARE * box.size_px]


def appearance_warning(name: str, image: Image, box: CropBox, motion: MotionCode) -> list[str]:
    """Return at most one line: what will look wrong with a profile or a tight crop."""
    reasons, degrees = [], abs(math.degrees(motion.pose.angles_rad()[0]))
    if degrees > _SIDEWAYS_DEG:
        reasons.append(
            f"the face in {name} is turned by {degrees:.0f} degrees: its hidden side is made up when it turns back; use "
            "--mode exp, or a picture from the front"
        )
    sides = _tight_sides(image, box)
    if sides:
        reasons.append(
            f"{name} is cropped tightly ({', '.join(sides)}): smeared edges show there when the head moves; use a "
            "picture with more around the head"
        )
    return ["; ".join(reasons)] if reasons else []
