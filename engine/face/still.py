"""Find the face in a single picture: confirmed by the landmark network, and set upright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.tracker import (
    PRESENCE_MIN,
    Detection,
    FaceDetector,
    FaceReader,
    Region,
    region_of_landmarks,
)
from mimicam.engine.types import Face, Float, Image

_READ_MOST = 12
"""Detections of one picture that are read, surest first."""
_ROLL_MAX_RAD = math.radians(60)
"""A head that leans further is taken for that of a picture that lies on its side."""
_TURN_MARGIN = 0.1
"""By how much a turned picture's score must exceed that of the picture as it is.

Upright faces score 0.86 to 0.95, the same on their heads at most 0.77 (16 portraits, 2026-11)."""
_SAME_SIZE = 0.6
"""A second face larger than this share of the first makes the choice ambiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StillFaces:
    """The faces of a picture, and how it has to be turned."""

    quarter_turns: int
    """Quarter turns counter-clockwise that set the picture upright."""
    faces: list[Face]
    """In the picture so turned, largest first."""

    @property
    def rivals(self) -> int:
        """Number of faces that are about as large as the largest, that one included."""
        sizes = [face_size_px(face) for face in self.faces]
        return sum(size > _SAME_SIZE * sizes[0] for size in sizes)


class StillFaceFinder:
    """Finds the faces of pictures. Loads its networks once; use it on one thread at a time."""

    def __init__(self) -> None:
        self._detect, self._read = FaceDetector(), FaceReader()

    def __call__(self, image: Image, *, smallest_px: int) -> StillFaces | None:
        """Return the faces, or None.

        Args:
            image: RGB.
            smallest_px: size of the smallest face that is searched for.
        """
        # The whole picture first; parts only if nothing is found there, since they take many runs.
        for tiles in ((1,), (2, 4)):
            found = [
                (self._faces(np.ascontiguousarray(np.rot90(image, turns)), tiles, smallest_px), turns)
                for turns in range(4)
            ]
            best, turns = max(
                found,
                key=lambda f: (
                    max((s for s, _ in f[0]), default=0.0) + _TURN_MARGIN * (f[1] == 0) * bool(f[0])
                ),
            )
            if best:
                faces = sorted((face for _, face in best), key=face_size_px, reverse=True)
                return StillFaces(quarter_turns=turns, faces=faces)
        return None

    def near(self, image: Image, landmarks: Float) -> Face | None:
        """Return the face near these landmarks ``[478, 3]``, pixels; None: there is none."""
        return self._settled(image, region_of_landmarks(landmarks), passes=1)

    def _faces(self, image: Image, tiles: tuple[int, ...], smallest_px: int) -> list[tuple[float, Face]]:
        """Return score and face of each detection that the landmark network confirms."""
        kept: list[tuple[float, Face]] = []
        found = [
            d for n in tiles for part in _tiles(image, n, smallest_px) for d in self._detected(image, part)
        ]
        for one in sorted(found, key=lambda d: -d.score)[:_READ_MOST]:
            face = self._settled(image, one.region)
            if face is not None and all(_apart(face, other) for _, other in kept):
                kept.append((one.score * face.presence, face))
        return kept

    def _detected(self, image: Image, part: tuple[int, int, int]) -> Iterator[Detection]:
        left, top, side = part
        for d in self._detect(np.ascontiguousarray(image[top : top + side, left : left + side])):
            region = replace(d.region, x_px=d.region.x_px + left, y_px=d.region.y_px + top)
            yield replace(d, region=region)

    def _settled(self, image: Image, region: Region, passes: int = 2) -> Face | None:
        """Read a face as tracking does, from the landmarks' own square; None: it is none.

        The detector's square is coarse (blendshapes off by up to 0.26 on the bundled portraits),
        and what only resembles a face loses its presence when it is read again.
        """
        face = self._read(image, region)
        for _ in range(passes):
            if not face.is_finite():
                return None
            # From the landmarks' own square, as tracking does: the detector's is coarse.
            face = self._read(image, region_of_landmarks(face.landmarks))
        if not face.is_finite() or face.presence < PRESENCE_MIN:
            return None
        return face if abs(head_pose(face.landmarks).angles_rad()[2]) <= _ROLL_MAX_RAD else None


def face_size_px(face: Face) -> float:
    """Return the larger side of the landmarks' bounding box."""
    return float(np.ptp(face.landmarks[:, :2], axis=0).max())


def _tiles(image: Image, count: int, smallest_px: int) -> Iterator[tuple[int, int, int]]:
    """Yield left, top and side of squares that overlap by half, ``count`` along the longer side."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if count == 1:
        yield 0, 0, longest
        return
    side = max(longest // count, smallest_px)
    step = side // 2
    for top in range(0, max(height - step, 1), step):
        for left in range(0, max(width - step, 1), step):
            yield left, top, side


def _apart(a: Face, b: Face) -> bool:
    distance = np.linalg.norm(a.landmarks[:, :2].mean(axis=0) - b.landmarks[:, :2].mean(axis=0))
    return bool(distance > 0.5 * max(face_size_px(a), face_size_px(b)))
