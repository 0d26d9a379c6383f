"""What trembles when nobody moves: one frame of a driver, shown again and again by a noisy camera."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.tracker import region_of_landmarks
from mimicam.engine.models.compact.reenactor import TrackerEncoder
from mimicam.engine.stages.crop import Crop
from mimicam.engine.types import CropBox, Float, Image, Mode, MotionCode
from mimicam.training.evaluation.candidates import FRAME_NS, Candidate, Generate
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs
from mimicam.training.evaluation.evaluate import Tally, read_results, the_tracker

NOISE_LEVELS = 2.0
"""Standard deviation of the sensor's noise, grey levels of 255: a webcam in a lit room."""
_SETTLE = 4
"""First frames left out: the tracker's region, and the filter, come to rest."""


def evaluate_still(
    clips: list[Clip], candidate: Candidate, pairs: int = 4, frames: int = 16
) -> dict[str, float]:
    """Standard deviation of the results' landmarks in pixels, mean over landmarks: as read, and as the product smooths.

    The figure holds the tracker's own trembling on the results; copying the driver shows how much that is.
    """
    tally = Tally()
    for number, (portrait, driver) in enumerate(cross_pairs(clips, pairs)):
        images = noisy(driver.images[calmest(driver)], frames, seed=number)
        landmarks = driver.landmarks[calmest(driver)]
        plain, calm = (_read(images, landmarks, smooth=smooth) for smooth in (False, True))
        tally.add("jitter_px", _jitter(portrait, candidate.generate, images, plain))
        tally.add("jitter_smoothed_px", _jitter(portrait, candidate.smoothed, images, calm))
    return tally.means()


def noisy(image: Image, frames: int, seed: int) -> list[Image]:
    """The same picture with fresh Gaussian noise in every frame."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, NOISE_LEVELS, (frames, *image.shape))
    return list((image + noise).round().clip(0, 255).astype(np.uint8))


def _read(images: list[Image], landmarks: Float, *, smooth: bool) -> list[MotionCode]:
    tracker, encoder = the_tracker(), TrackerEncoder(smooth=smooth)
    tracker.reset()
    tracker.start(region_of_landmarks(landmarks))
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(images[0].shape[0]))
    motions = []
    for number, image in enumerate(images):
        face = tracker(image)
        if face is not None:
            motions.append(encoder(Crop(image=image, box=box, face=face, captured_ns=number * FRAME_NS)))
    return motions


def _jitter(portrait: Clip, generate: Generate, images: list[Image], motions: list[MotionCode]) -> float:
    at = calmest(portrait)
    results = [
        generate(portrait.images[at], portrait.motions[at], image, motion, Mode.BOTH)
        for image, motion in zip(images, motions, strict=False)
    ]
    faces = [f for f in read_results(results, portrait.landmarks[at]) if f is not None]
    if len(faces) < _SETTLE + 4:
        return float("nan")
    points = np.stack([f.landmarks[:, :2] for f in faces[_SETTLE:]])
    return float(points.std(axis=0).mean())
