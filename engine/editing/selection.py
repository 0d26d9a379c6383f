"""Choose one of the people in a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mimicam.engine.editing.people import first_place
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError

_REACH = 0.75
"""Largest distance of a chosen point from a face's centre, in heights of the face."""


def describe_people(people: Sequence[FaceTrack]) -> list[str]:
    """Return a line for each person: number, place and time."""
    lines = []
    for number, track in enumerate(people, start=1):
        x, y = first_place(track).round().astype(int)
        first_s, share = track.times_s[track.seen[0]], len(track.seen) / len(track.faces)
        lines.append(f"{number}: at {x},{y} from {first_s:.1f} s, in {100 * share:.0f} % of the frames")
    return lines


def choose_person(
    people: Sequence[FaceTrack], face: str | None, *, name: str, option: str = "--face"
) -> FaceTrack:
    """Return the person that an option names.

    Args:
        people: from left to right, see `engine.editing.people.find_people`.
        face: ``N`` counts from 1 at the left, ``x,y`` is a pixel on the face where it is first
            seen. None: there has to be one person only.
        name: name of the video in errors.
        option: name of the option in errors.

    Raises:
        EngineError: nobody is there, several are and none was chosen, or the choice names none.
    """
    if not people:
        raise EngineError(f"{name} shows no face, or only small or turned ones: choose another video")
    if face is None and len(people) == 1:
        return people[0]
    listed = "; ".join(describe_people(people))
    if face is None:
        raise EngineError(f"{name} shows {len(people)} people: choose one with --face N ({listed})")
    chosen = _at_point(people, face) if "," in face else _by_number(people, face)
    if chosen is None:
        raise EngineError(f"{option} {face} names nobody in {name}: give a number or a pixel of {listed}")
    return chosen


def main_person(people: Sequence[FaceTrack], *, name: str) -> FaceTrack:
    """Return the person that is seen largest and longest.

    Raises:
        EngineError: nobody is there.
    """
    if not people:
        raise EngineError(f"{name} shows no face: give a driver seen from the front and well lit")
    return max(people, key=_prominence)


def _prominence(track: FaceTrack) -> float:
    # Heights summed over time: near and long count alike.
    return float(sum(np.ptp(face.landmarks[:, 1]) for face in track.faces if face is not None))


def _by_number(people: Sequence[FaceTrack], face: str) -> FaceTrack | None:
    if not face.strip().isdecimal():
        raise EngineError(f"--face must be N or x,y, for example 1 or 320,180, not '{face}'")
    number = int(face)
    return people[number - 1] if 1 <= number <= len(people) else None


def _at_point(people: Sequence[FaceTrack], face: str) -> FaceTrack | None:
    try:
        point = np.array([float(part) for part in face.split(",")])
        if point.shape != (2,) or not np.isfinite(point).all():
            raise ValueError
    except ValueError:
        raise EngineError(f"--face must be N or x,y, for example 1 or 320,180, not '{face}'") from None
    distances = [_distance(track, point) for track in people]
    nearest = int(np.argmin(distances))
    return people[nearest] if distances[nearest] < _REACH else None


def _distance(track: FaceTrack, point: np.ndarray) -> float:
    face = track.faces[track.seen[0]]
    assert face is not None, "the frame shows the face"
    # In heights of the face, so that a near face is not easier to hit than a far one.
    return float(np.linalg.norm(first_place(track) - point) / np.ptp(face.landmarks[:, 1]))
