"""Conditioning validation people by each other and by themselves, read the results with the tracker, and compare.

The paper's three settings, expression only, pose only, and both, each across people and within one person (DPE,
section 4, tables 1 to 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.tracker import FaceTracker, region_of_landmarks
from mimicam.engine.types import Face, Float, Image, Mode
from mimicam.training.evaluation import metrics
from mimicam.training.evaluation.candidates import Generate
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs
from mimicam.training.evaluation.identity import IdentityDistance

if TYPE_CHECKING:
    from mimicam.training.evaluation.perceptual import PictureFeatures  # needs PyTorch

_EVERY = 3
"""Of the results, every third goes through the networks of `Meters`: 0.1 s each."""
_ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True, kw_only=True)
class Meters:
    """Measures that need networks of their own. None: not measured."""

    identity: IdentityDistance | None = None
    pictures: PictureFeatures | None = None


NO_METERS = Meters()


@dataclass(kw_only=True)
class Tally:
    """Collects figures by name; the result is their means."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more figure; not-a-number is left out and counted in ``missing``."""
        key = name if np.isfinite(value) else "missing"
        self.values.setdefault(key, []).append(value if np.isfinite(value) else 1.0)

    def means(self) -> dict[str, float]:
        """Name to mean; ``missing`` is a count."""
        return {
            k: round(float(np.sum(v) if k == "missing" else np.mean(v)), 4)
            for k, v in sorted(self.values.items())
        }


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What one driver made of one portrait."""

    portrait: Clip
    at: int
    """The portrait's frame."""
    driver: Clip
    mode: Mode
    results: list[Image]
    """A picture a frame of the driver."""
    faces: list[Face | None]
    """As the tracker reads them."""


def evaluate_cross(
    clips: list[Clip], generate: Generate, mode: Mode, pairs: int, meters: Meters = NO_METERS
) -> dict[str, float]:
    """Cross identity: what follows, what leaks, what of the portrait stays."""
    tally = Tally()
    fakes: list[Image] = []
    for portrait, driver in cross_pairs(clips, pairs):
        one = _drive(portrait, driver, generate, mode)
        _tally_motion(tally, one)
        _tally_looks(tally, one, meters.identity)
        fakes += one.results[::_EVERY]
    if meters.pictures is not None and fakes:
        real = [image for clip in clips for image in clip.images]
        tally.add("mobilenet_frechet", meters.pictures.frechet(fakes, real))
    return tally.means()


def evaluate_same(
    clips: list[Clip], generate: Generate, mode: Mode = Mode.BOTH, meters: Meters = NO_METERS
) -> dict[str, float]:
    """A person drives their own calmest frame. In ``both``, their own frames are the truth."""
    tally = Tally()
    for clip in clips:
        one = _drive(clip, clip, generate, mode)
        _tally_motion(tally, one)
        _tally_looks(tally, one, meters.identity)
        if mode is Mode.BOTH:
            distance = None if meters.pictures is None else meters.pictures.distance
            _tally_truth(tally, one, distance)
    return tally.means()


def _drive(portrait: Clip, driver: Clip, generate: Generate, mode: Mode) -> Conditioning:
    at = calmest(portrait)
    results = [
        generate(portrait.images[at], portrait.motions[at], image, motion, mode)
        for image, motion in zip(driver.images, driver.motions, strict=True)
    ]
    faces = read_results(results, portrait.landmarks[at])
    return Conditioning(portrait=portrait, at=at, driver=driver, mode=mode, results=results, faces=faces)


def _tally_motion(tally: Tally, one: Conditioning) -> None:
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
    # What the mode shall leave alone is the portrait's own.
    own_shapes = one.portrait.blendshapes[one.at]
    expression = own_shapes if one.mode is Mode.POSE else wanted_shapes
    pose = own_angles if one.mode is Mode.EXP else wanted_angles
    # Named for what they are: the paper's AED and APD are distances of 3DMM coefficients.
    tally.add("tracker_aed", float(np.abs(shapes - expression).mean()))
    tally.add("tracker_apd", float(np.abs(angles - pose).mean()))
    _tally_leak(tally, one.mode, gains)


def _tally_following(
    tally: Tally, shapes: tuple[Float, Float], angles: tuple[Float, Float]
) -> dict[str, float]:
    """Correlation and gain of each curve, driver's then result's; the gains by name."""
    theirs, ours = (metrics.expression_groups(each) for each in shapes)
    curves = {name: (theirs[name], ours[name]) for name in theirs}
    curves |= {name: (angles[0][:, i], angles[1][:, i]) for i, name in enumerate(_ANGLES)}
    gains = {}
    for name, (driver, result) in curves.items():
        if (found := metrics.follow(name, driver, result)) is not None:
            tally.add(f"{name}_correlation", found[0])
            tally.add(f"{name}_gain", found[1])
            gains[name] = found[1]
    return gains


def _tally_leak(tally: Tally, mode: Mode, gains: dict[str, float]) -> None:
    """The mean size of the gains of what the mode shall leave alone."""
    if mode is Mode.BOTH:
        return
    name, curves = ("pose", _ANGLES) if mode is Mode.EXP else ("expression", tuple(metrics.GROUPS))
    leaks = [abs(gains[curve]) for curve in curves if curve in gains]
    if leaks:
        tally.add(f"{name}_leak", float(np.mean(leaks)))


def _tally_looks(tally: Tally, one: Conditioning, identity: IdentityDistance | None) -> None:
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


def _tally_truth(tally: Tally, one: Conditioning, distance: Callable[[Image, Image], float] | None) -> None:
    """Against the driver's frames, the portrait's own one left out."""
    for i, (result, face) in enumerate(zip(one.results, one.faces, strict=True)):
        if i == one.at:
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
    """Track a sequence of results, looking first where the portrait's face was."""
    tracker = the_tracker()
    tracker.reset()
    tracker.start(region_of_landmarks(landmarks))
    for image in results[:1]:  # the portrait's square is not this face's: let the tracker settle on it first
        tracker(np.ascontiguousarray(image))
    return [tracker(np.ascontiguousarray(image)) for image in results]


@cache
def the_tracker() -> FaceTracker:
    """Compiled once for all clips. One thread at a time."""
    return FaceTracker()


def _angles(landmarks_px: Float) -> tuple[float, float, float]:
    return head_pose(landmarks_px).angles_rad()
