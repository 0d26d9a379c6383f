"""Measure jitter: one frame of a driver, repeated with fresh sensor noise."""

from __future__ import annotations

import numpy as np

from mimicam.engine.face.tracker import region_of_landmarks
from mimicam.engine.models.compact.reenactor import TrackerEncoder
from mimicam.engine.stages.crop import Crop
from mimicam.engine.types import CropBox, Float, Image, Mode, MotionCode
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs
from mimicam.training.evaluation.evaluate import Tally, read_results, the_tracker
from mimicam.training.evaluation.methods import FRAME_NS, Generate, Method

NOISE_LEVELS = 2.0
"""Standard deviation of the sensor noise, grey levels of 255: that of a webcam in a lit room."""
_SETTLE = 4
"""Number of first frames that are left out, while the tracker's region and the filter settle."""


def evaluate_still(clips: list[Clip], method: Method, pairs: int = 4, frames: int = 16) -> dict[str, float]:
    """Standard deviation of the results' landmarks, pixels, mean over landmarks: with and without
    the product's filter.

    The figure includes the tracker's own jitter on the results; that of copying the driver shows
    how much it is.
    """
    tally = Tally()
    for number, (portrait, driver) in enumerate(cross_pairs(clips, pairs)):
        images = noisy(driver.images[calmest(driver)], frames, seed=number)
        landmarks = driver.landmarks[calmest(driver)]
        plain, calm = (_read(images, landmarks, smooth=smooth) for smooth in (False, True))
        tally.add("jitter_px", _jitter(portrait, method.generate, images, plain))
        tally.add("jitter_smoothed_px", _jitter(portrait, method.smoothed, images, calm))
    return tally.means()


def noisy(image: Image, frames: int, seed: int) -> list[Image]:
    """Repeat a picture with fresh Gaussian noise in every frame."""
    rng = np.random.default_rng(seed)
    # Added before rounding to levels, as a sensor's noise is.
    noise = rng.normal(0.0, NOISE_LEVELS, (frames, *image.shape))
    return list((image + noise).round().clip(0, 255).astype(np.uint8))


def _read(images: list[Image], landmarks: Float, *, smooth: bool) -> list[MotionCode]:
    tracker, encoder = the_tracker(), TrackerEncoder(smooth=smooth)
    # Sequences of different people follow one another.
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
    # Deviation over time of each landmark, then the mean.
    points = np.stack([f.landmarks[:, :2] for f in faces[_SETTLE:]])
    return float(points.std(axis=0).mean())
