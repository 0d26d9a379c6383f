"""The lively set: strong drivers that start in mid-expression, and portraits with an expression of
their own.

Unlike `training.evaluation.evaluate`, this runs the product's pipeline over consecutive frames. So
it also measures enrolment, smoothing and the search for the driver's neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.base import Model
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import Portrait, enroll
from mimicam.engine.stages.neutral import calmness_cost
from mimicam.engine.types import EditSettings, Face, Float, Frame, Image
from mimicam.training.data.pairs import FramePack
from mimicam.training.data.split import LIVELY
from mimicam.training.evaluation import metrics
from mimicam.training.evaluation.clips import to_pixels
from mimicam.training.evaluation.dlib_points import DlibPoints
from mimicam.training.evaluation.evaluate import Tally, read_results
from mimicam.training.evaluation.identity import IdentityDistance

_DRIVERS = 10
_FRAME_NS = 80_000_000
"""Time between frames, ns: packs hold every second frame of clips at 25 fps."""
_ASIDE = np.array([[0.93, 0.02, 0.036], [-0.02, 0.93, 0.046]])
"""Similarity of pictures of side 1: 7 % smaller, turned by a degree. About as much as a result's
crop differs from the driver's."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that becomes a portrait."""

    identity: str
    kind: str
    """Its own expression: open, smile, closed or calm."""
    image: Image
    landmarks: Float
    """``[478, 3]``, pixels."""
    blendshapes: Float
    """``[52]``"""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Consecutive frames of one person."""

    identity: str
    images: Sequence[Image]
    landmarks: Float
    """``[T, 478, 3]``, pixels."""
    blendshapes: Float
    """``[T, 52]``"""


@dataclass(frozen=True, kw_only=True)
class SecondOpinions:
    """Meters that are independent of the tracker. None is not measured."""

    points: DlibPoints | None = None
    identity: IdentityDistance | None = None


def lively_pairs(pack: FramePack, *, count: int, frames: int) -> list[tuple[Source, Driver]]:
    """Pair people who were never trained on; sources alternate between kinds of expression.

    Args:
        pack: the validation split of a pack.
        count: number of pairs.
        frames: number of frames of each driver.
    """
    drivers, sources = lively_drivers(pack, frames), expressive_sources(pack)
    pairs: list[tuple[Source, Driver]] = []
    # In steps of three: neighbouring sources are often one person.
    for shift in sorted(range(len(sources)), key=lambda k: (k % 3, k)):
        for number, driver in enumerate(drivers):
            source = sources[(number + shift) % len(sources)]
            if source.identity != driver.identity and all(
                (source.identity, driver.identity) != (s.identity, d.identity) for s, d in pairs
            ):
                pairs.append((source, driver))
    return pairs[:count]


def lively_drivers(pack: FramePack, frames: int) -> list[Driver]:
    """Find the liveliest windows of ten people, those of `LIVELY` first; each starts where the face
    is least calm."""
    found: dict[str, tuple[float, int]] = {}
    for segment in np.unique(pack.segment[pack.indices]):
        low, high = int(pack.starts[segment]), int(pack.starts[segment + 1])
        # Windows overlap by half: a burst of expression is whole in at least one of them.
        for start in range(low, high - frames + 1, max(1, frames // 2)):
            spread = float(pack.blendshapes[start : start + frames].std(axis=0).sum())
            identity = pack.segments[segment]["identity"]
            if spread > found.get(identity, (0.0, 0))[0]:
                found[identity] = (spread, _liveliest(pack, start, min(start + frames // 2, high - frames)))
    ranked = sorted(found.items(), key=lambda item: (item[0] not in LIVELY, -item[1][0]))
    return [_driver(pack, identity, start, frames) for identity, (_, start) in ranked[:_DRIVERS]]


def _liveliest(pack: FramePack, low: int, high: int) -> int:
    costs = [calmness_cost(read_motion(pack.landmarks[i], pack.blendshapes[i])) for i in range(low, high + 1)]
    return low + int(np.argmax(costs))


def _driver(pack: FramePack, identity: str, start: int, frames: int) -> Driver:
    rows = slice(start, start + frames)
    return Driver(
        identity=identity,
        images=[np.array(image) for image in pack.frames[rows]],
        landmarks=to_pixels(pack.landmarks[rows], pack.frames.shape[1]),
        blendshapes=pack.blendshapes[rows],
    )


def expressive_sources(pack: FramePack) -> list[Source]:
    """Choose one or two pictures of each person: in turn widest mouth, strongest smile, closed
    eyes; and a calm one."""
    people: dict[str, list[int]] = {}
    for row in pack.indices:
        people.setdefault(pack.segments[pack.segment[row]]["identity"], []).append(int(row))
    sources = []
    for number, (identity, rows) in enumerate(sorted(people.items())):
        curves = metrics.expression_groups(pack.blendshapes[rows])
        cost = np.array(
            [calmness_cost(read_motion(pack.landmarks[i], pack.blendshapes[i])) for i in rows[::5]]
        )
        best = {
            "open": int(np.argmax(curves["jaw"])),
            "smile": int(np.argmax(curves["smile"])),
            "closed": int(np.argmax(curves["blink"])),
            "calm": int(np.argmin(cost)) * 5,
        }
        # Every second person gives two pictures, and the kinds take turns over the people.
        for kind in (("open", "smile", "closed")[number % 3], "calm")[: 2 if number % 2 else 1]:
            sources.append(_source(pack, identity, kind, rows[best[kind]]))
    return sources


def _source(pack: FramePack, identity: str, kind: str, row: int) -> Source:
    return Source(
        identity=identity,
        kind=kind,
        image=np.array(pack.frames[row]),
        landmarks=to_pixels(pack.landmarks[row], pack.frames.shape[1]),
        blendshapes=pack.blendshapes[row],
    )


def run_pipeline(model: Model, portrait: Portrait, driver: Driver, settings: EditSettings) -> list[Image]:
    """Run the product's pipeline over a driver, frame by frame, as live."""
    pipeline = Pipeline(model=model, portrait=portrait, edit=settings)
    frames = (
        Frame(image=image, seq=seq, captured_ns=seq * _FRAME_NS) for seq, image in enumerate(driver.images)
    )
    return [pipeline.step(frame).image.copy() for frame in frames]


def evaluate_lively(
    pairs: Sequence[tuple[Source, Driver]],
    model: Model,
    settings: EditSettings,
    meters: SecondOpinions,
) -> dict[str, float]:
    """Measure the pairs and return means.

    Sources in which enrolment finds no face are left out and counted.
    """
    tally = Tally()
    for source, driver in pairs:
        try:
            portrait = enroll(source.image, model=model)
        except EngineError:
            tally.add("not_enrolled", 1.0)
            continue
        # The whole product, its filter and neutral too, unlike `evaluate_cross`.
        results = run_pipeline(model, portrait, driver, settings)
        # The face starts where enrolment found it, in the result's crop.
        start = portrait.box.from_image(source.landmarks)
        faces = read_results(results, to_pixels(start, len(results[0])))
        _tally_pair(tally, source, driver, results, faces, meters)
    return tally.means()


def evaluate_copied_drivers(
    pairs: Sequence[tuple[Source, Driver]], meters: SecondOpinions
) -> dict[str, float]:
    """Measure results that are the driver's own frames, a little smaller and aside; return means.

    What a result can reach: tracker and dlib read even these pictures differently than the
    driver's.
    """
    tally, read = Tally(), dict[str, tuple[list[Image], list[Face | None]]]()
    for source, driver in pairs:
        if driver.identity not in read:
            images, start = _aside(driver)
            read[driver.identity] = images, read_results(images, start)
        _tally_pair(tally, source, driver, *read[driver.identity], meters)
    return tally.means()


def _aside(driver: Driver) -> tuple[list[Image], Float]:
    """Return a driver's frames as `_ASIDE` has them, and the first one's landmarks there."""
    side = driver.images[0].shape[0]
    matrix = _ASIDE @ np.diag([1.0, 1.0, side])
    images = [
        cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ) for image in driver.images
    ]  # fmt: skip
    first = driver.landmarks[0]
    moved = np.column_stack([first[:, :2] @ matrix[:, :2].T + matrix[:, 2], first[:, 2] * _ASIDE[0, 0]])
    return images, moved.astype(np.float32)


def _tally_pair(
    tally: Tally,
    source: Source,
    driver: Driver,
    results: list[Image],
    faces: list[Face | None],
    meters: SecondOpinions,
) -> None:
    seen = [i for i, face in enumerate(faces) if face is not None]
    tally.add("lost_share", 1 - len(seen) / len(faces))
    # Fewer faces give no correlation; `lost_share` has counted them.
    if len(seen) < 4:
        return
    found: list[Any] = [faces[i] for i in seen]
    shapes, wanted = np.stack([f.blendshapes for f in found]), driver.blendshapes[seen]
    landmarks = np.stack([f.landmarks for f in found])
    for name, pair in (
        metrics.expression_curves(wanted, shapes) | metrics.gaze_curves(driver.landmarks[seen], landmarks)
    ).items():
        tally.add_following(name, *pair)
    for name, open_still in metrics.shut_parts(driver.landmarks[seen], landmarks).items():
        tally.add(f"shut_{name}", open_still)
    correlation, gain, weight = metrics.follow_all(wanted, shapes)
    if weight > 0:
        tally.add("all_correlation", correlation)
        tally.add("all_gain", gain)
    tally.add("distance", metrics.blendshape_distance(shapes, wanted))
    tally.add("distance_copying", metrics.blendshape_distance(source.blendshapes[None], wanted))
    # Relative to the driver, whose landmarks jitter by tracking noise as well.
    tally.add("jitter", metrics.jitter(landmarks) / max(metrics.jitter(driver.landmarks[seen]), 1e-6))
    angles = np.array([head_pose(f.landmarks).angles_rad() for f in found])
    driven = np.array([head_pose(points).angles_rad() for points in driver.landmarks[seen]])
    for i, name in enumerate(("yaw", "pitch", "roll")):
        tally.add_following(name, driven[:, i], angles[:, i])
    own = np.array(head_pose(source.landmarks).angles_rad())
    tally.add("pose_from_portrait_deg", float(np.rad2deg(np.abs(angles - own).mean())))
    _tally_dlib(tally, source, driver, results, (seen, landmarks), meters)


def _tally_dlib(
    tally: Tally, source: Source, driver: Driver, results: list[Image], read: tuple[list[int], Float],
    meters: SecondOpinions,
) -> None:  # fmt: skip
    """Measure with dlib. ``read``: numbers of the frames with a face, and their landmarks."""
    seen, landmarks = read
    if meters.points is not None:
        ours = meters.points.openings([results[i] for i in seen], landmarks)
        theirs = meters.points.openings([driver.images[i] for i in seen], driver.landmarks[seen])
        for column, name in enumerate(("dlib_lips", "dlib_lids")):
            tally.add_following(name, theirs[:, column], ours[:, column])
    if meters.identity is not None:
        own = meters.identity.embed(source.image, source.landmarks)
        # Every sixth frame: dlib's network takes 0.1 s.
        for number in range(0, len(seen), 6):
            there = meters.identity.embed(results[seen[number]], landmarks[number])
            tally.add("identity_distance", float(np.linalg.norm(there - own)))
