"""Find the one face of a still picture, and set the picture upright."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.still import StillFaceFinder, face_size_px
from mimicam.engine.types import Face, Image

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


@cache
def _finder() -> StillFaceFinder:
    """Load the networks, once, since that takes half a second."""
    return StillFaceFinder()
