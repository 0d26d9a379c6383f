"""Read pose and expression off a face, and leave identity behind (DPE, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.stages.motion import read_motion
from engine.stages.smooth import OneEuro
from engine.types import CropBox, Face, Image, MotionCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A face in its box."""

    image: Image
    """The whole frame; the picture encoder cuts its own input from it."""
    box: CropBox
    face: Face
    captured_ns: int


class TrackerEncoder:
    """Motion from the tracker's landmarks and blendshapes, smoothed in crop space."""

    # Chosen on the demo clip: a still face trembles by less than 0.2 px at 256, a quick turn lags by 0.4 frames.
    def __init__(self, *, smooth: bool = True) -> None:
        self._points = OneEuro(cutoff_hz=3.0, beta=8.0) if smooth else None
        self._shapes = OneEuro(cutoff_hz=4.0, beta=2.0) if smooth else None

    def reset(self) -> None:
        """Forget the past: another face, or a gap."""
        for smoother in (self._points, self._shapes):
            if smoother is not None:
                smoother.reset()

    def __call__(self, crop: Crop) -> MotionCode:
        """The motion codes of the face in the crop."""
        landmarks = crop.box.from_image(crop.face.landmarks)
        shapes = np.asarray(crop.face.blendshapes, np.float32)
        if self._points is not None and self._shapes is not None:
            landmarks = self._points(landmarks, crop.captured_ns)
            shapes = self._shapes(shapes, crop.captured_ns)
        return read_motion(landmarks, shapes)
