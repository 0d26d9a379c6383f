"""Conditioning validation people by each other and by themselves, and measure the results with the
tracker.

The settings are those of DPE (section 4, tables 1 to 3): expression only, pose only and both, each
across people and within one person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.tracker import FaceTracker, region_of_landmarks
from mimicam.engine.types import Face, Float, Image, Mode
from mimicam.training.evaluation import metrics
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs
from mimicam.training.evaluation.identity import IdentityDistance
from mimicam.training.evaluation.methods import Generate

if TYPE_CHECKING:
    from mimicam.training.evaluation.perceptual import PictureFeatures  # needs PyTorch

_EVERY = 3
"""Step between the results that the networks of `Meters` measure: each takes 0.1 s."""
_ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True, kw_only=True)
class Meters:
    """Meters with networks of their own. None is not measured."""

    identity: IdentityDistance | None = None
    pictures: PictureFeatures | None = None


NO_METERS = Meters()


@dataclass(kw_only=True)
class Tally:
    """Collects figures by name, and returns their means."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add a figure. One that is not finite is left out, and counted as ``missing``."""
        key = name if np.isfinite(value) else "missing"
        # 1 per missing value: their sum is the count.
        self.values.setdefault(key, []).append(value if np.isfinite(value) else 1.0)

    def add_following(self, name: str, driver: Float, result: Float) -> float | None:
        """Add correlation and gain of a result's curve on its driver's; return the gain, None for a
        still driver."""
        if (found := metrics.follow(name, driver, result)) is None:
            return None
        self.add(f"{name}_correlation", found[0])
        self.add(f"{name}_gain", found[1])
        return found[1]

    def means(self) -> dict[str, float]:
        """Return the mean of each name; ``missing`` is a count."""
        return {
            k: round(float(np.sum(v) if k == "missing" else np.mean(v)), 4)
            for k, v in sorted(self.values.items())
        }


@dataclass(frozen=True, kw_only=True)
class Reenactment:
    """Results of one driver on one portrait."""

    portrait: Clip
    at: int
    """Number of the frame that is the portrait."""
    driver: Clip
    mode: Mode
    results: list[Image]
    """One picture per frame of the driver."""
    faces: list[Face | None]
    """Faces that the tracker found in the results."""


def evaluate_cross(
    clips: list[Clip], generate: Generate, mode: Mode, pairs: int, meters: Meters = NO_METERS
) -> dict[str, float]:
    """Measure cross-identity reenactment: what follows, what leaks, and what of the portrait is
    kept."""
    tally = Tally()
    fakes: list[Image] = []
    for portrait, driver in cross_pairs(clips, pairs):
        one = _drive(portrait, driver, generate, mode)
        tally_pair(tally, one, meters)
        fakes += one.results[::_EVERY]
    if meters.pictures is not None and fakes:
        real = [image for clip in clips for image in clip.images]
        tally.add("mobilenet_frechet", meters.pictures.frechet(fakes, real))
    return tally.means()


def evaluate_same(
    clips: list[Clip], generate: Generate, mode: Mode = Mode.BOTH, meters: Meters = NO_METERS
) -> dict[str, float]:
    """Measure self-reenactment from the calmest frame.

    In ``both``, the person's own frames are the truth.
    """
    tally = Tally()
    for clip in clips:
        one = _drive(clip, clip, generate, mode)
        tally_pair(tally, one, meters)
        if mode is Mode.BOTH:
            tally_truth(tally, one, meters)
    return tally.means()


def _drive(portrait: Clip, driver: Clip, generate: Generate, mode: Mode) -> Reenactment:
    return reenact(portrait, calmest(portrait), driver, generate, mode)


def reenact(portrait: Clip, at: int, driver: Clip, generate: Generate, mode: Mode) -> Reenactment:
    """Drive one frame of a clip by all frames of another, and track the results."""
    results = [
        generate(portrait.images[at], portrait.motions[at], image, motion, mode)
        for image, motion in zip(driver.images, driver.motions, strict=True)
    ]
    faces = read_results(results, portrait.landmarks[at])
    return Reenactment(portrait=portrait, at=at, driver=driver, mode=mode, results=results, faces=faces)


def tally_pair(tally: Tally, one: Reenactment, meters: Meters) -> None:
    """Add what follows, what leaks, and what of the portrait is kept."""
    _tally_motion(tally, one)
    _tally_looks(tally, one, meters.identity)


def _tally_motion(tally: Tally, one: Reenactment) -> None:
    seen = [i for i, face in enumerate(one.faces) if face is not None]
    tally.add("lost_share", 1 - len(seen) / len(one.faces))
    if len(seen) < 4:
        return
    found = [face for face in one.faces if face is not None]
    shapes = np.stack([face.blendshapes for face in found])
    wanted_shapes = one.driver.blendshapes[seen]
    angles = np.array([_angles(face.landmarks) for face in found])
    wanted_angles = np.array([one.driver.motions[i].pose.angles_rad() for i in seen])
    gains = _tally_following(tally, (wanted_shapes, shapes), (wanted_angles, angles))
    own_angles = np.array(one.portrait.motions[one.at].pose.angles_rad())
    tally.add("pose_from_portrait_deg", float(np.rad2deg(np.abs(angles - own_angles).mean())))
    # What the mode must not change is compared with the portrait.
    own_shapes = one.portrait.blendshapes[one.at]
    expression = own_shapes if one.mode is Mode.POSE else wanted_shapes
    pose = own_angles if one.mode is Mode.EXP else wanted_angles
    # Not the paper's AED and APD, which are distances of 3DMM coefficients; hence the names.
    tally.add("tracker_aed", float(np.abs(shapes - expression).mean()))
    tally.add("tracker_apd", float(np.abs(angles - pose).mean()))
    _tally_leak(tally, one.mode, gains)


def _tally_following(
    tally: Tally, shapes: tuple[Float, Float], angles: tuple[Float, Float]
) -> dict[str, float]:
    """Add correlation and gain of each curve (driver's, result's); return the gains by name."""
    theirs, ours = (metrics.expression_groups(each) for each in shapes)
    curves = {name: (theirs[name], ours[name]) for name in theirs}
    curves |= {name: (angles[0][:, i], angles[1][:, i]) for i, name in enumerate(_ANGLES)}
    gains = {}
    for name, (driver, result) in curves.items():
        if (gain := tally.add_following(name, driver, result)) is not None:
            gains[name] = gain
    return gains


def _tally_leak(tally: Tally, mode: Mode, gains: dict[str, float]) -> None:
    """Add the mean absolute gain of what the mode must not change."""
    if mode is Mode.BOTH:
        return
    name, curves = ("pose", _ANGLES) if mode is Mode.EXP else ("expression", tuple(metrics.GROUPS))
    leaks = [abs(gains[curve]) for curve in curves if curve in gains]
    if leaks:
        tally.add(f"{name}_leak", float(np.mean(leaks)))


def _tally_looks(tally: Tally, one: Reenactment, identity: IdentityDistance | None) -> None:
    # Relative to the portrait: a soft portrait makes soft results.
    picture, landmarks = one.portrait.images[one.at], one.portrait.landmarks[one.at]
    base = metrics.sharpness(picture, landmarks)
    own = None if identity is None else identity.embed(picture, landmarks)
    found = [(image, face) for image, face in zip(one.results, one.faces, strict=True) if face is not None]
    for number, (image, face) in enumerate(found):
        tally.add("sharpness", metrics.sharpness(image, face.landmarks) / base)
        if identity is not None and own is not None and number % _EVERY == 0:
            embedded = identity.embed(image, face.landmarks)
            tally.add("identity_distance", float(np.linalg.norm(embedded - own)))
            tally.add("dlib_csim", metrics.cosine(embedded, own))


def tally_truth(tally: Tally, one: Reenactment, meters: Meters) -> None:
    """Compare with the driver's frames, except the one that is the portrait."""
    distance = None if meters.pictures is None else meters.pictures.distance
    for i, (result, face) in enumerate(zip(one.results, one.faces, strict=True)):
        # That frame is the portrait itself, which a model could copy.
        if one.portrait is one.driver and i == one.at:
            continue
        truth, landmarks = one.driver.images[i], one.driver.landmarks[i]
        tally.add("psnr", metrics.psnr(result, truth))
        tally.add("ssim", metrics.ssim(result, truth))
        tally.add("l1", float(np.abs(result.astype(np.float32) - truth).mean()) / 255)
        if distance is not None and i % _EVERY == 0:
            tally.add("mobilenet_distance", distance(result, truth))
        error = float("nan") if face is None else metrics.landmark_error(face.landmarks, landmarks)
        tally.add("landmark_error", error)


def read_results(results: list[Image], landmarks: Float) -> list[Face | None]:
    """Track a sequence of results, starting where the portrait's face is."""
    tracker = the_tracker()
    tracker.reset()
    tracker.start(region_of_landmarks(landmarks))
    for image in results[:1]:  # the portrait's square may not fit this face: let the tracker settle first
        tracker(np.ascontiguousarray(image))
    return [tracker(np.ascontiguousarray(image)) for image in results]


@cache
def the_tracker() -> FaceTracker:
    """Return the tracker that all clips share. It serves one thread at a time."""
    return FaceTracker()


def _angles(landmarks_px: Float) -> tuple[float, float, float]:
    return head_pose(landmarks_px).angles_rad()
