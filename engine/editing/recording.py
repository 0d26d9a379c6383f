"""Record a preset: the expression of a person in a picture, or in one moment of a video."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.concurrency.steps import Work, counted
from mimicam.engine.editing.keyframes import parse_time
from mimicam.engine.editing.people import find_people, follow_people
from mimicam.engine.editing.selection import choose_person
from mimicam.engine.editing.studied import StudiedFace
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.picture_file import read_picture
from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import Timed, VideoFile, check_readable
from mimicam.engine.stages.neutral import resting_face
from mimicam.engine.types import Float

_BEYOND_S = 5.0
"""Seconds after the moment that are still read, to learn the person's resting face."""
_LEAST = 0.05
"""Distance from rest below which a blendshape is left out: the tracker's noise."""
_GAZE = "eyeLook"
"""Blendshapes of the gaze, which is no part of an expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Picture or moment of a video that a preset is recorded from."""

    path: Path
    time_s: float
    """Seconds since the video's first frame; 0 in a picture."""


def parse_origin(text: str) -> Origin:
    """Parse ``VIDEO@TIME`` or the path of a picture.

    Raises:
        EngineError: there is no such file, or the time is missing or no time.
    """
    path, time_s = Path(text), 0.0
    if not path.is_file():  # otherwise a name may hold @ itself
        name, at, time = text.rpartition("@")
        if at:
            path, time_s = Path(name), _time(time, text)
    check_readable(path)
    if not is_picture(path) and str(path) == text:
        raise EngineError(f"{text} is a video: give the moment too, for example {text}@2.5")
    return Origin(path=path, time_s=time_s)


def record_expression(origin: Origin, *, face: str | None = None) -> Work[dict[str, float]]:
    """Return the distances from the person's resting face by blendshape.

    In a video, the resting face is learned from its start up to a few seconds after the moment. In
    a picture it is the average one.

    Args:
        origin: picture or moment.
        face: the person among several, see `engine.editing.selection.choose_person`.

    Raises:
        EngineError: the file cannot be read, shows no face then, or the face is at rest.
    """
    shapes = _in_picture(origin, face) if is_picture(origin.path) else (yield from _in_video(origin, face))
    found = _distances(shapes)
    if not found:
        raise EngineError(f"the face in {_words(origin)} is at rest: choose a moment with more expression")
    return found


def _in_picture(origin: Origin, face: str | None) -> Float:
    people = find_people([Timed(image=read_picture(origin.path), time_s=0.0)])
    person = choose_person(people, face, name=origin.path.name)
    only = person.faces[0]
    assert only is not None, "a person of a picture is seen in it"
    return only.blendshapes


def _in_video(origin: Origin, face: str | None) -> Work[Float]:
    people = yield from _people_around(origin)
    person = choose_person(people, face, name=origin.path.name)
    if origin.time_s > float(person.times_s[-1]) + 0.5:
        raise EngineError(f"{origin.path.name} ends at {person.times_s[-1]:.2f} s: give an earlier moment")
    expression = StudiedFace(person).at(origin.time_s)
    if expression is None:
        raise EngineError(f"the person is not seen in {_words(origin)}: choose another moment")
    return expression.blendshapes


def _people_around(origin: Origin) -> Work[list[FaceTrack]]:
    video, end_s = VideoFile(origin.path), origin.time_s + _BEYOND_S
    try:
        # Decoding runs on a thread of its own, which ends before the file is closed.
        with closing(prefetch(video)) as ahead:
            near = takewhile(lambda frame: frame.time_s <= end_s, ahead)
            return (yield from follow_people(near, counted("track", video.frame_count)))
    finally:
        video.close()


def _distances(shapes: Float) -> dict[str, float]:
    away = np.clip(shapes - resting_face().expression, -1.0, 1.0)
    return {
        name: float(value)
        for name, value in zip(BLENDSHAPE_NAMES, away, strict=True)
        # The tracker's first score, ``_neutral``, is no movement.
        if abs(value) >= _LEAST and not name.startswith(("_", _GAZE))
    }


def _time(text: str, whole: str) -> float:
    try:
        return parse_time(text)
    except ValueError:
        raise EngineError(
            f"'{whole}' must be VIDEO@TIME, for example talk.mp4@2.5 or talk.mp4@1:02"
        ) from None


def _words(origin: Origin) -> str:
    name = origin.path.name
    return name if is_picture(origin.path) else f"{name} at {origin.time_s:g} s"
