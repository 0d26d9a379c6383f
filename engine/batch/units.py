"""The units of work: follow the people of a video, and edit a range of its frames.

Each unit writes one file under the hash of all that determines it, so a retry finds it done. A
worker process runs one unit at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mimicam.engine.badge import corner_badge
from mimicam.engine.batch.jobs import Job
from mimicam.engine.checked_files import ZIP_ERRORS, brief
from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.editing.channels import SHAPES
from mimicam.engine.editing.drawing import PasteDrawing, decode
from mimicam.engine.editing.person import PersonMotion, count_covered
from mimicam.engine.editing.selection import choose_person
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.editing.video import open_driver, people_of_picture, track_people
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of, write_atomically
from mimicam.engine.models.base import Model
from mimicam.engine.presets.library import find_preset, preset_names
from mimicam.engine.sinks.video_writer import VideoWriter
from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import LANDMARKS, Face

_VERSION = 3
"""Counts up when the same job gives other pictures."""
_TRACKS = 3
"""Counts up when more of the people is kept."""
_WARM_UP_S = 1.0
"""Seconds before a segment whose light and gaze are read, so that filters start as if it went on."""
_JOINABLE = {"bf": "0"}
"""Options of libx264: without pictures that refer to later ones, segments follow each other as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A range of a job's frames."""

    job: Job
    key: str
    """Hash of the job with all its inputs, and of the model."""
    first: int
    last: int
    """Index behind the last frame."""
    folder: Path

    @property
    def path(self) -> Path:
        """Its video, whose first frame is at 0."""
        name = hashlib.sha256(f"{self.key} {self.first} {self.last}".encode()).hexdigest()[:32]
        return self.folder / f"{name}.mp4"

    @property
    def figures(self) -> SegmentFigures | None:
        """Its figures, which are written last. None: it is not done."""
        return _figures(self.path.with_suffix(".json")) if self.path.is_file() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFigures:
    """Figures of a finished segment."""

    frames: int
    changed: int
    without_face: int
    start_s: float
    """Time of its first frame in the source."""
    covered: dict[str, int] = field(default_factory=dict)
    """See `engine.editing.video.EditedVideo.covered`."""
    driver_covered: dict[str, int] = field(default_factory=dict)
    """See `engine.editing.video.EditedVideo.driver_covered`."""


def job_key(job: Job, model: str) -> str:
    """Return the hash of a job, of the content of its inputs, of its presets and of the model.

    ``model``: hash of its weights.
    """
    # The result's path too: jobs that are alike must not remove each other's segments.
    options = {name: str(value) for name, value in asdict(job).items()}
    inputs = [content_hash(path) for path in job.inputs]
    text = json.dumps([_VERSION, options, inputs, _presets_of(job), model], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, which is read once by a process."""
    return sha256_of(path)


def track_path(source: Path, folder: Path) -> Path:
    """Return where the people of a video are kept, for all jobs that read it."""
    return folder / f"{content_hash(source)[:32]}.tracks-{_TRACKS}.npz"


def follow(source: Path, folder: Path, beat: Callable[[], None] = lambda: None) -> None:
    """Follow the people of a video and keep them, unless they are there.

    ``beat``: called after each frame; may raise to give up.

    Raises:
        EngineError: the video cannot be read, or the folder cannot be written.
    """
    path = track_path(source, folder)
    if path.is_file():
        return
    with Steps(track_people(source)) as steps:
        for _ in steps:
            beat()
        people = steps.result()
    arrays: dict[str, Any] = {"count": np.array(len(people))}
    for number, track in enumerate(people):
        # Faces that were seen and their indices: an array with None in it would be pickled, and
        # `np.load` refuses pickles.
        faces = [track.faces[index] for index in track.seen]
        arrays |= {
            f"times{number}": track.times_s,
            f"seen{number}": np.array(track.seen),
            f"landmarks{number}": np.stack([face.landmarks for face in faces if face is not None]),
            f"shapes{number}": np.stack([face.blendshapes for face in faces if face is not None]),
            f"coloured{number}": np.array(list(track.colours), int),
            f"colours{number}": np.array(list(track.colours.values()), np.uint8),
            f"searched{number}": np.array(list(track.hands), int),
            f"hands{number}": np.array(list(track.hands.values()), bool).reshape(-1, LANDMARKS),
        }
    with write_atomically(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def read_people(source: Path, folder: Path) -> list[FaceTrack]:
    """Return what `follow` kept.

    Raises:
        EngineError: it is damaged.
    """
    path = track_path(source, folder)
    try:
        with np.load(path) as kept:
            return [_track(kept, number) for number in range(int(kept["count"]))]
    except (*ZIP_ERRORS, ValueError) as error:
        raise EngineError(f"{path} is damaged ({brief(error)}): remove it and run the batch again") from error


def _track(kept: np.lib.npyio.NpzFile, number: int) -> FaceTrack:
    times_s, seen = kept[f"times{number}"], kept[f"seen{number}"].tolist()
    faces: list[Face | None] = [None] * len(times_s)
    for index, landmarks, shapes in zip(
        seen, kept[f"landmarks{number}"], kept[f"shapes{number}"], strict=True
    ):
        # Presence decides whether a face counts as found, and only such faces are in the file.
        faces[index] = Face(landmarks=landmarks, blendshapes=shapes, presence=1.0)
    colours = dict(zip(kept[f"coloured{number}"].tolist(), kept[f"colours{number}"], strict=True))
    hands = dict(zip(kept[f"searched{number}"].tolist(), kept[f"hands{number}"], strict=True))
    return FaceTrack(times_s=times_s, faces=faces, colours=colours, hands=hands)


def plan_segments(job: Job, key: str, folder: Path, *, seconds: float) -> list[Segment]:
    """Cut a job into ranges of about ``seconds``, after its videos were followed.

    Raises:
        EngineError: nobody is seen, or the chosen person is not there.
    """
    motion = _motion(job, folder)
    times_s = read_people(job.source, folder)[0].times_s
    times_s = times_s[times_s < motion.end_s]
    # The first frame of each interval of time. Cuts by time fit videos of a variable rate, and an
    # interval without frames makes no empty segment.
    starts = np.flatnonzero(np.diff(np.floor(times_s / seconds), prepend=-1.0) > 0).tolist()
    ends = [*starts[1:], len(times_s)]
    return [
        Segment(job=job, key=key, first=first, last=last, folder=folder)
        for first, last in zip(starts, ends, strict=True)
    ]


def write_segment(segment: Segment, model: Model, beat: Callable[[], None] = lambda: None) -> None:
    """Edit a segment's frames into its file, unless that is done.

    ``beat``: called after each frame; may raise to give up.

    Raises:
        EngineError: the video cannot be read, or the file cannot be written.
    """
    if segment.figures is not None:
        return
    motion = _motion(segment.job, segment.folder)
    badge = corner_badge(segment.job.badge, segment.job.badge_picture)
    work = PasteDrawing(model, [motion], badge=badge)
    video = VideoFile(segment.job.source)
    writer: VideoWriter | None = None
    frames = changed = 0
    start_s = 0.0
    try:
        with closing(prefetch(decode(video))) as ahead:
            # From the first frame on: tracks count decoded frames, and a seek would land on an
            # unknown index.
            for index, decoded in enumerate(islice(ahead, segment.last)):
                if index < segment.first:
                    if motion.time_s(segment.first) - decoded.time_s <= _WARM_UP_S:
                        work.warm_up(index, decoded)
                    continue
                if writer is None:
                    writer, start_s = work.open(segment.path, video, decoded.raw, _JOINABLE), decoded.time_s
                frame, differs = work.draw(index, decoded)
                # Segments begin at 0, whatever the container does with a first time that is not:
                # join adds it again.
                writer.write_frame(frame, decoded.time_s - start_s)
                frames, changed = frames + 1, changed + differs
                beat()
        if writer is None:
            raise EngineError(
                f"{segment.job.source.name} holds fewer frames than before: run the batch again"
            )
        writer.finish()
    finally:
        if writer is not None:
            writer.abort()
        video.close()
    written = range(segment.first, segment.first + frames)
    covered, driver_covered = count_covered([motion], written)
    figures = SegmentFigures(
        frames=frames,
        changed=changed,
        without_face=sum(not motion.is_seen(index) for index in written),
        start_s=start_s,
        covered=covered,
        driver_covered=driver_covered,
    )
    # Last of all: `Segment.figures` takes a video for finished once its figures are there.
    with write_atomically(segment.path.with_suffix(".json")) as part:
        part.write_text(json.dumps(asdict(figures)), encoding="utf-8")


def _motion(job: Job, folder: Path) -> PersonMotion:
    people = read_people(job.source, folder)
    person = choose_person(people, job.face, name=job.source.name)
    driver = None
    if job.driver is not None:
        still = is_picture(job.driver)
        seen = people_of_picture(job.driver) if still else read_people(job.driver, folder)
        driver = open_driver(job.driver, seen, length=job.driver_length, edit=job.settings())
    others = [each for each in people if each is not person]
    return PersonMotion(person, driver=driver, settings=job.settings(), plan=job.plan(), others=others)


def _presets_of(job: Job) -> list[str]:
    """Return the content of the presets that the job names: the user may record them anew."""
    plan = job.plan()
    names = {*plan.changes.presets, *plan.keyframes.channels} - {*SHAPES}
    return [find_preset(name).to_json() for name in sorted(names & set(preset_names()))]


def _figures(path: Path) -> SegmentFigures | None:
    try:
        return SegmentFigures(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None  # not there, or cut off: the segment is written again
