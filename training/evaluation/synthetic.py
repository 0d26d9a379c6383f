"""Error against exact truth: rendered heads with two expressions by two poses
(``mimicam data render``).

The portrait is the first picture, the driver the fourth, in which both expression and pose differ.
Each mode has one right answer: the second picture for expression only, the third for pose only, the
fourth for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import CropBox, Face, Float, Image, Mode
from mimicam.training.evaluation import metrics
from mimicam.training.evaluation.evaluate import Tally, read_results
from mimicam.training.evaluation.methods import Generate

TRUTH = {Mode.EXP: 1, Mode.POSE: 2, Mode.BOTH: 3}
_DRIVER = 3


@dataclass(frozen=True, kw_only=True)
class Quadruple:
    """One rendered head, read by the tracker."""

    images: list[Image]
    """Four pictures: source, expression, pose, both."""
    faces: list[Face]
    """Landmarks in pixels."""


def load_quadruples(file: Path, count: int) -> tuple[list[Quadruple], int]:
    """Load the first ``count`` heads of an npz; also return how many were left out because the
    tracker misses a picture.

    Raises:
        EngineError: the file is missing, or holds no quadruples.
    """
    if not file.is_file():
        raise EngineError(f"{file} does not exist: render it with 'mimicam data render --out {file}'")
    with np.load(file) as data:
        images: np.ndarray = data["images"] if "images" in data else np.empty(0, np.uint8)
    if images.ndim != 5 or images.shape[1] != 4:
        raise EngineError(f"{file} holds no rendered quadruples: make it with 'mimicam data render'")
    tracker = FaceTracker()
    found = []
    for four in images[:count]:
        faces = [_read(tracker, image) for image in four]
        if all(face is not None for face in faces):
            found.append(Quadruple(images=list(four), faces=[f for f in faces if f is not None]))
    return found, len(images[:count]) - len(found)


def _read(tracker: FaceTracker, image: Image) -> Face | None:
    # Each picture alone: consecutive pictures show another expression or pose.
    tracker.reset()
    return tracker(image)


def evaluate_synthetic(quadruples: list[Quadruple], generate: Generate, mode: Mode) -> dict[str, float]:
    """Compare with the rendered truth: L1 (0..1) over the face and over the picture, and landmark
    error."""
    tally = Tally()
    for four in quadruples:
        size = four.images[0].shape[0]
        box = CropBox(x_px=0.0, y_px=0.0, size_px=float(size))
        source, driver = (
            read_motion(box.from_image(four.faces[i].landmarks), four.faces[i].blendshapes)
            for i in (0, _DRIVER)
        )
        result = generate(four.images[0], source, four.images[_DRIVER], driver, mode)
        truth, wanted = four.images[TRUTH[mode]], four.faces[TRUTH[mode]].landmarks
        difference = np.abs(result.astype(np.float32) - truth).mean(axis=2) / 255
        tally.add("l1", float(difference.mean()))
        tally.add("face_l1", float(difference[face_region(wanted, size)].mean()))
        (face,) = read_results([result], wanted)
        error = float("nan") if face is None else metrics.landmark_error(face.landmarks, wanted)
        tally.add("landmark_error", error)
    return tally.means()


def face_region(landmarks_px: Float, size: int) -> np.ndarray:
    """Mask the convex hull of the landmarks, bool ``[size, size]``."""
    mask = np.zeros((size, size), np.uint8)
    # The tracker's own outline, so that the region is the same for every method.
    hull = cv2.convexHull(landmarks_px[:, :2].round().astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    return mask.astype(bool)
