"""Drive validation people by each other and by themselves, read the results with the tracker, and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engine.backends.model import Features, Model
from engine.stages.edit import edit
from engine.stages.geometry import head_pose
from engine.stages.motion import read_motion
from engine.stages.track import FaceTracker, region_of_landmarks
from engine.types import EditSettings, Face, Float, Image, Mode, MotionCode
from training.data.pairs import FramePack
from training.evaluation import metrics
from training.evaluation.identity import IdentityDistance

Generate = Callable[[Image, MotionCode, Image, MotionCode, Mode], Image]
"""portrait, its motion, driver, its motion, mode -> result."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames of one validation person, evenly spaced."""

    identity: str
    images: list[Image]
    landmarks: Float
    """``[T, 478, 3]``, pixels."""
    blendshapes: Float
    motions: list[MotionCode]


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


def load_clips(pack: FramePack, frames: int) -> list[Clip]:
    """The most moving segment of each validation person."""
    best: dict[str, tuple[float, int]] = {}
    for segment in np.unique(pack.segment[pack.indices]):
        low, high = pack.starts[segment], pack.starts[segment + 1]
        if high - low < frames:
            continue
        motion = float(pack.blendshapes[low:high].std(axis=0).sum())
        identity = pack.segments[segment]["identity"]
        if motion > best.get(identity, (-1.0, 0))[0]:
            best[identity] = (motion, int(segment))
    return [_clip(pack, segment, frames) for _, segment in best.values()]


def _clip(pack: FramePack, segment: int, frames: int) -> Clip:
    low, high = pack.starts[segment], pack.starts[segment + 1]
    rows = np.linspace(low, high - 1, frames).round().astype(int)
    size = pack.frames.shape[1]
    return Clip(
        identity=pack.segments[segment]["identity"],
        images=[np.array(pack.frames[i]) for i in rows],
        landmarks=_to_pixels(pack.landmarks[rows], size),
        blendshapes=pack.blendshapes[rows],
        motions=[read_motion(pack.landmarks[i], pack.blendshapes[i]) for i in rows],
    )


def calmest(clip: Clip) -> int:
    """The frame that serves as portrait: near frontal, eyes open, mouth near closed."""
    curves = metrics.expression_groups(clip.blendshapes)
    yaw = np.array([abs(m.pose.angles_rad()[0]) for m in clip.motions])
    return int(np.argmin(curves["jaw"] + curves["blink"] + 0.5 * curves["smile"] + yaw))


def model_generator(model: Model) -> Generate:
    """The product's own path, without filter and anchor: motion as it is."""
    last: tuple[Image, Features] | None = None

    def generate(portrait: Image, own: MotionCode, _: Image, driver: MotionCode, mode: Mode) -> Image:
        nonlocal last
        if last is None or last[0] is not portrait:
            last = portrait, model.encode(portrait)
        drive = edit(own, driver, None, EditSettings(mode=mode))
        return model.generate(last[1], drive.arrays()).copy()

    return generate


def copy_source(portrait: Image, *_: object) -> Image:
    """Floor: nothing moves."""
    return portrait


def copy_driver(_: Image, __: MotionCode, driver: Image, *___: object) -> Image:
    """Floor: everything moves, and the person changes."""
    return driver


def cross_pairs(clips: list[Clip], count: int) -> list[tuple[Clip, Clip]]:
    """Portrait and driver of different people, every person in turn in both roles."""
    pairs = [
        (clips[i], clips[(i + shift) % len(clips)])
        for shift in range(1, len(clips))
        for i in range(len(clips))
    ]
    return pairs[:count]


def evaluate_cross(
    clips: list[Clip], generate: Generate, mode: Mode, pairs: int, identity: IdentityDistance | None = None
) -> dict[str, float]:
    """Cross identity: what follows, what leaks, what of the portrait stays."""
    tally = Tally()
    for portrait, driver in cross_pairs(clips, pairs):
        at = calmest(portrait)
        results = [
            generate(portrait.images[at], portrait.motions[at], image, motion, mode)
            for image, motion in zip(driver.images, driver.motions, strict=True)
        ]
        _tally_pair(tally, portrait, at, driver, results, identity)
    return tally.means()


def _tally_pair(
    tally: Tally,
    portrait: Clip,
    at: int,
    driver: Clip,
    results: list[Image],
    identity: IdentityDistance | None,
) -> None:
    faces = read_results(results, portrait.landmarks[at])
    seen = [i for i, face in enumerate(faces) if face is not None]
    tally.add("lost_share", 1 - len(seen) / len(faces))
    if len(seen) < 4:
        return
    found = [faces[i] for i in seen]
    shapes = np.stack([f.blendshapes for f in found if f is not None])
    theirs = metrics.expression_groups(driver.blendshapes[seen])
    for name, curve in metrics.expression_groups(shapes).items():
        _tally_follow(tally, name, theirs[name], curve)
    angles = np.array([_angles(f.landmarks) for f in found if f is not None])
    wanted = np.array([driver.motions[i].pose.angles_rad() for i in seen])
    own = np.array(portrait.motions[at].pose.angles_rad())
    for column, name in enumerate(("yaw", "pitch", "roll")):
        _tally_follow(tally, name, wanted[:, column], angles[:, column])
    tally.add("pose_from_portrait_deg", float(np.rad2deg(np.abs(angles - own).mean())))
    # Named for what they are: the paper's AED and APD are distances of 3DMM coefficients.
    tally.add("tracker_aed", float(np.abs(shapes - driver.blendshapes[seen]).mean()))
    tally.add("tracker_apd", float(np.abs(angles - wanted).mean()))
    _tally_looks(
        tally,
        portrait,
        at,
        [(results[i], f.landmarks) for i in seen if (f := faces[i]) is not None],
        identity,
    )


def _tally_looks(
    tally: Tally, portrait: Clip, at: int, found: list[tuple[Image, Float]], identity: IdentityDistance | None
) -> None:
    base = metrics.sharpness(portrait.images[at], portrait.landmarks[at])
    own = None if identity is None else identity.embed(portrait.images[at], portrait.landmarks[at])
    for number, (image, landmarks) in enumerate(found):
        tally.add("sharpness", metrics.sharpness(image, landmarks) / base)
        if identity is not None and own is not None and number % 3 == 0:  # 60 ms each
            tally.add("identity_distance", identity(image, landmarks, own))


def evaluate_same(
    clips: list[Clip], generate: Generate, distance: Callable[[Image, Image], float] | None = None
) -> dict[str, float]:
    """Same identity, both: the driver's own frames are the truth. ``distance`` adds a perceptual one."""
    tally = Tally()
    for clip in clips:
        at = calmest(clip)
        results = [
            generate(clip.images[at], clip.motions[at], image, motion, Mode.BOTH)
            for image, motion in zip(clip.images, clip.motions, strict=True)
        ]
        faces = read_results(results, clip.landmarks[at])
        for i, (result, face) in enumerate(zip(results, faces, strict=True)):
            if i == at:
                continue
            tally.add("psnr", metrics.psnr(result, clip.images[i]))
            tally.add("ssim", metrics.ssim(result, clip.images[i]))
            tally.add("l1", float(np.abs(result.astype(np.float32) - clip.images[i]).mean()) / 255)
            if distance is not None and i % 3 == 0:  # 0.1 s each
                tally.add("mobilenet_distance", distance(result, clip.images[i]))
            error = (
                float("nan") if face is None else metrics.landmark_error(face.landmarks, clip.landmarks[i])
            )
            tally.add("landmark_error", error)
    return tally.means()


def read_results(results: list[Image], landmarks: Float) -> list[Face | None]:
    """Track a sequence of results, looking first where the portrait's face was."""
    tracker = FaceTracker()
    tracker.start(region_of_landmarks(landmarks))
    for image in results[:1]:  # the portrait's square is not this face's: let the tracker settle on it first
        tracker(np.ascontiguousarray(image))
    return [tracker(np.ascontiguousarray(image)) for image in results]


def _tally_follow(tally: Tally, name: str, driver: Float, result: Float) -> None:
    found = metrics.follow(name, driver, result)
    if found is not None:
        tally.add(f"{name}_correlation", found[0])
        tally.add(f"{name}_gain", found[1])


def _angles(landmarks_px: Float) -> tuple[float, float, float]:
    return head_pose(landmarks_px).angles_rad()


def _to_pixels(landmarks: Float, size: int) -> Float:
    out = landmarks.copy()
    out[..., :2] = (landmarks[..., :2] + 1) * (size / 2)
    out[..., 2] *= size / 2
    return out
