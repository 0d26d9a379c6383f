"""Covered parts of the faces of a recording: found, kept, and counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from mimicam.engine.editing.smoothing import Times
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.face.covered_parts import KeepCovered, Part, part_landmarks
from mimicam.engine.face.covers import NOTHING, CoverFinder, Covers
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.stages.cover import CoveredFrames
from mimicam.engine.types import Face

NO_PARTS: frozenset[Part] = frozenset()
_COMES_S, _GAP_S = 1.5, 0.15
"""Seconds for which a cover may come in before it is found, and for which it may look like the face
meanwhile."""


def find_covers(track: FaceTrack) -> dict[int, Covers]:
    """Return what covers the face, by frame; frames in which nothing does are left out."""
    find = CoverFinder()
    found: dict[int, Covers] = {}
    doubtful: dict[int, Covers] = {}
    for index in track.seen:
        face, colours = track.faces[index], track.colours.get(index)
        if face is None or colours is None:
            continue
        yaw, _, _ = head_pose(face.landmarks).angles_rad()
        covers = find(colours.astype(np.float32), yaw, _time_ns(track, index), track.hands.get(index))
        if covers.parts:
            found[index] = covers
        if find.doubtful.parts:
            doubtful[index] = find.doubtful
    _begin_earlier(found, doubtful, track.times_s)
    return found


def _begin_earlier(found: dict[int, Covers], doubtful: Mapping[int, Covers], times_s: Times) -> None:
    """Add the frames in which what covers the mouth comes in.

    Eyes are left: a frown makes as much of them look odd.
    """
    around = part_landmarks("mouth")[:, 0] > 0.5
    first_s = last_s = np.inf
    for index in sorted({*found, *doubtful}, reverse=True):
        time_s, known = float(times_s[index]), found.get(index, NOTHING)
        if "mouth" in known.parts:
            first_s = last_s = time_s
        elif last_s - time_s <= _GAP_S and first_s - time_s <= _COMES_S:
            more = doubtful.get(index, NOTHING)
            if "mouth" in more.parts:
                last_s = time_s
                odd = known.landmarks | (more.landmarks & around)
                found[index] = Covers(parts=known.parts | {"mouth"}, landmarks=odd)


def keep_covered(track: FaceTrack, covers: Mapping[int, Covers]) -> FaceTrack:
    """Return the track with covered parts as they were before; see `KeepCovered`."""
    if not covers:
        return track
    keep = KeepCovered()
    faces: list[Face | None] = [None] * len(track.faces)
    for index in track.seen:
        face = track.faces[index]
        assert face is not None, "the frame shows the face"
        parts = covers[index].parts if index in covers else NO_PARTS
        faces[index] = keep(face, head_pose(face.landmarks), parts, _time_ns(track, index))
    return replace(track, faces=faces)


def count_parts(frames: Iterable[Collection[Part]]) -> dict[str, int]:
    """Return in how many frames mouth and eyes are covered; what never is is left out."""
    counts = CoveredFrames()
    for parts in frames:
        counts.count(parts)
    return counts.by_part()


def _time_ns(track: FaceTrack, index: int) -> int:
    return round(float(track.times_s[index]) * 1e9)
