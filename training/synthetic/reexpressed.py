"""Re-render portraits of packs with other expressions, and write them as a pack.

A segment is one portrait: first the picture itself, then its re-renderings. ``track.npz`` has an
extra array, ``painted`` float32 ``[N]``: -1 for portraits, otherwise the share of the picture that
the portrait did not show. Finished portraits are kept in ``parts`` beside the pack, so that an
interrupted run resumes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.files import write_atomically
from mimicam.training.data.pack import Packer, Segment
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.split import VALIDATION
from mimicam.training.synthetic.portrait_pairs import MOST_TURN_DEG, PortraitSet, PortraitStudio

Image = npt.NDArray[np.uint8]
VERSION = 1
"""Version of the pictures. Raise it when the same portrait and seed give other pictures."""
ITSELF = -1.0
"""Value of ``painted`` for a portrait itself."""
_APART = 6
"""Smallest distance between two chosen frames."""
_CLOSED = 0.5


@dataclass(frozen=True, kw_only=True)
class SourcePicture:
    """A frame of a pack that is re-rendered."""

    pack: Path
    row: int
    file: str
    identity: str


@dataclass(kw_only=True)
class Outcome:
    """Counts of portraits and re-renderings, by what happened to them."""

    portraits: int = 0
    pictures: int = 0
    followed: int = 0
    """Re-renderings kept."""
    missed: int = 0
    """Re-renderings in which the tracker did not find what was asked for."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of refused portraits by reason."""
    residuals: list[float] = field(default_factory=list)
    """Residuals of the fits, picture sides."""
    misses: list[float] = field(default_factory=list)
    """Misses of the re-renderings, picture sides."""


def choose(pack: Path, most: int, files: frozenset[str] | None = None) -> list[SourcePicture]:
    """Choose up to ``most`` expressive frames of every person in a pack's training split.

    In order: widest laugh, widest open mouth, closed eyes if there are any, calmest face, then
    whatever differs most.

    Args:
        files: use only frames of these files.

    Raises:
        EngineError: the folder is not a pack.
    """
    check_pack(pack)
    segments = json.loads((pack / "segments.json").read_text())
    with np.load(pack / "track.npz") as track:
        landmarks, shapes, segment = track["landmarks"], track["blendshapes"], track["segment"]
    people: dict[str, list[int]] = {}
    for row, number in enumerate(segment):
        about = segments[number]
        wanted = files is None or about["file"] in files
        if wanted and not about["validation"] and about["identity"] not in VALIDATION:
            people.setdefault(about["identity"], []).append(row)
    chosen: list[SourcePicture] = []
    for identity, rows in people.items():
        # Few frames are all tried; of many only frontal ones, whose fits succeed.
        near = [r for r in rows if len(rows) <= most or _frontal(landmarks[r])]
        for row in _telling(np.array(near, int), shapes, most):
            chosen.append(
                SourcePicture(pack=pack, row=row, file=segments[segment[row]]["file"], identity=identity)
            )
    return chosen


def _frontal(landmarks: npt.NDArray[np.float32]) -> bool:
    """Tell whether the head is turned clearly less than a fit accepts."""
    yaw, pitch, _ = np.rad2deg(head_pose(landmarks).angles_rad())
    return bool(abs(yaw) < 0.8 * MOST_TURN_DEG[0] and abs(pitch) < 0.8 * MOST_TURN_DEG[1])


def _telling(rows: npt.NDArray[np.int_], shapes: npt.NDArray[np.float32], most: int) -> list[int]:
    if len(rows) <= most:
        return [int(r) for r in rows]
    value = {name: shapes[rows, i] for i, name in enumerate(BLENDSHAPE_NAMES)}
    smile = value["mouthSmileLeft"] + value["mouthSmileRight"]
    shown = value["mouthUpperUpLeft"] + value["mouthLowerDownLeft"] + 2 * value["jawOpen"]
    blink = np.minimum(value["eyeBlinkLeft"], value["eyeBlinkRight"])
    # A laugh shows teeth: smile times what the lips and jaw uncover.
    scores = [smile * (0.2 + shown), value["jawOpen"], -shapes[rows, 1:].sum(1)]
    if blink.max() > _CLOSED:
        scores.insert(2, blink)
    picked: list[int] = []
    for score in scores[:most]:
        _pick(rows, score, picked)
    while len(picked) < most and _pick(rows, _difference(shapes, rows, picked), picked):
        pass
    return picked


def _difference(
    shapes: npt.NDArray[np.float32], rows: npt.NDArray[np.int_], picked: list[int]
) -> npt.NDArray[np.float32]:
    """Distance to the most similar of the picked frames, ``[n]``."""
    far = np.abs(shapes[rows][:, None] - shapes[picked][None]).sum(2)
    return np.asarray(far.min(1))


def _pick(rows: npt.NDArray[np.int_], score: npt.NDArray[np.floating], picked: list[int]) -> bool:
    """Append the best row that is not close to a picked one; return False if there is none."""
    # Neighbouring frames of a clip are nearly equal.
    free = np.array([all(abs(r - p) >= _APART for p in picked) for r in rows])
    if not free.any():
        return False
    picked.append(int(rows[np.where(free, score, -np.inf).argmax()]))
    return True


@dataclass(frozen=True, kw_only=True)
class ReexpressionJob:
    """Portraits to re-render, and where to."""

    portraits: tuple[SourcePicture, ...]
    variants: int
    seed: int
    out: Path

    def part(self, portrait: SourcePicture) -> Path:
        """Return the file of a portrait's part."""
        return self.out / "parts" / f"{portrait.pack.name}-{portrait.row:06d}.npz"

    def stamp(self) -> npt.NDArray[np.int64]:
        """Return version, seed and number of variants: a part with another stamp belongs to another
        job."""
        return np.array([VERSION, self.seed, self.variants], np.int64)


def make_parts(job: ReexpressionJob, make: Callable[[], PortraitStudio], go_on: Callable[[int], bool]) -> int:
    """Fit and re-render what is missing; return the number of portraits that were processed now.

    Args:
        go_on: called with the number of finished portraits; returns whether to continue.

    Raises:
        EngineError: the folder holds parts of another seed, version or number of variants.
    """
    (job.out / "parts").mkdir(parents=True, exist_ok=True)
    frames = {p: np.load(p / "frames.npy", mmap_mode="r") for p in {q.pack for q in job.portraits}}
    studio: PortraitStudio | None = None
    worked = 0
    for number, portrait in enumerate(job.portraits):
        if not _is_done(job.part(portrait), job):
            studio = studio or make()
            picture = np.ascontiguousarray(frames[portrait.pack][portrait.row])
            _write(job.part(portrait), job, _attempt(studio, picture, job, portrait))
            worked += 1
        if not go_on(number + 1):
            break
    return worked


def _attempt(
    studio: PortraitStudio, picture: Image, job: ReexpressionJob, portrait: SourcePicture
) -> PortraitSet | str:
    """Return the portrait's set, or the reason why there is none."""
    name = [ord(c) for c in portrait.pack.name]
    try:
        return studio(picture, np.random.default_rng([job.seed, portrait.row, *name]), job.variants)
    except EngineError as refusal:
        return str(refusal)


def _is_done(path: Path, job: ReexpressionJob) -> bool:
    if not path.is_file():
        return False
    with np.load(path) as part:
        if not np.array_equal(part["stamp"], job.stamp()):
            raise EngineError(
                f"{path} is of another seed, version or number: choose another --out or delete {path.parent}"
            )
    return True


def _write(path: Path, job: ReexpressionJob, made: PortraitSet | str) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {"stamp": job.stamp()}
    if isinstance(made, str):
        arrays["refused"] = np.array(made)
    else:
        arrays["images"] = np.stack([made.portrait, *(v.image for v in made.variants)])
        arrays["painted"] = np.array([ITSELF, *(v.painted for v in made.variants)], np.float32)
        arrays["misses"] = np.array([v.miss for v in made.variants], np.float32)
        arrays["about"] = np.array([made.fit.residual_px / made.portrait.shape[0], made.refused], np.float32)
    with write_atomically(path) as half_done, half_done.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_pack(job: ReexpressionJob) -> Outcome:
    """Track the finished parts and write the pack; leave out portraits without any re-rendering.

    Raises:
        EngineError: no portrait has one.
    """
    tally, packer, painted = Outcome(), Packer(job.out), []
    finished = [p for p in job.portraits if _is_done(job.part(p), job)]
    for number, portrait in enumerate(finished):
        with np.load(job.part(portrait)) as part:
            if not _count(tally, part):
                continue
            images, shares = part["images"], part["painted"]
        packer.begin(
            Segment(file=f"{portrait.file}#{portrait.row}", identity=portrait.identity, validation=False)
        )
        # The tracker may find no face in a re-rendering: then the picture is left out, and its
        # share too.
        for image, share in zip(images, shares, strict=True):
            if packer.keep(image, same_pose_group=number, is_synthetic=share != ITSELF):
                painted.append(share)
    packer.close()
    _add_array(job.out / "track.npz", "painted", np.array(painted, np.float32))
    tally.pictures = len(painted)
    return tally


def _count(tally: Outcome, part: np.lib.npyio.NpzFile) -> bool:
    """Count a part; return whether it has something to pack."""
    if "refused" in part:
        tally.refused[_kind(str(part["refused"]))] += 1
        return False
    residual, missed = part["about"]
    tally.residuals.append(float(residual))
    tally.misses.extend(map(float, part["misses"]))
    tally.followed += len(part["misses"])
    tally.missed += int(missed)
    if len(part["misses"]) == 0:
        tally.refused["no re-rendering was found by the tracker"] += 1
        return False
    tally.portraits += 1
    return True


def _kind(refusal: str) -> str:
    """Return a refusal's reason without its numbers."""
    return "".join(c for c in refusal.split(":")[0] if not c.isdigit())


def _add_array(path: Path, name: str, values: npt.NDArray[np.float32]) -> None:
    with np.load(path) as old:
        arrays = dict(old)
    np.savez(path, **arrays, **{name: values})  # type: ignore[arg-type]


def sets_of(out: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the pictures ``[1 + variants, size, size, 3]`` of each segment of a written pack."""
    frames = np.load(out / "frames.npy", mmap_mode="r")
    with np.load(out / "track.npz") as track:
        segment = track["segment"]
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    for low, high in zip(starts, [*starts[1:], len(segment)], strict=True):
        yield np.asarray(frames[low:high])
