"""Find everybody in a video: one track of faces for each person, kept through crossings.

A face is followed from frame to frame as long as that is certain. Where it is lost or another face
comes too near, its piece of track ends. Afterwards pieces are joined by how the faces look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from mimicam.engine.concurrency.steps import Progress, Steps, Work, counted
from mimicam.engine.editing.track import Colours, FaceTrack
from mimicam.engine.face.expression_filter import displacements, without_view
from mimicam.engine.face.hands import HandFinder, HandSearch
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.skin_colours import Flags, face_colours
from mimicam.engine.face.tracker import FaceDetector, FaceReader, Region, region_of_landmarks
from mimicam.engine.sources.video import Timed
from mimicam.engine.types import Face, Float, Image

_PRESENCE_MIN = 0.5
"""Presence from which a region shows a face, as for `engine.face.tracker.FaceTracker`."""
_DETECT_S = 0.2
"""Seconds between two searches of the whole picture for further faces."""
_SAME, _TOO_NEAR = 0.3, 0.45
"""Distance of two regions' centres in sides: below the first, a detection is a face that is
followed already. Below the second, two followed faces cannot be told apart, so both pieces end."""
_LEAST_FRAMES = 3
"""Shorter pieces are false detections."""
_LOOKS = 24
"""Frames of a piece whose looks are averaged."""
_STRANGER = 1.0
"""Distance of looks, `_Piece.looks`, from which two pieces show different people."""
_COLOUR, _SHAPE = 1 / 24.0, 1 / 0.024
"""Weights of the looks, per grey level of skin and per head unit of landmarks.

Measured on clips of 14 people (2026-11). Halves of one clip differ by 2.6 levels and 0.007 units in
the median, by 10.8 and 0.015 at most. Two people differ by 36 and 0.037, in one pair of twenty by
less than 16 and 0.020.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class _Piece:
    """A face followed without doubt."""

    find_hand: HandSearch
    faces: dict[int, Face] = field(default_factory=dict)
    """Faces by frame."""
    colours: dict[int, Colours] = field(default_factory=dict)
    """Colours at its landmarks by frame."""
    hands: dict[int, Flags] = field(default_factory=dict)
    """Landmarks behind a hand, of the frames in which it was looked for."""
    skin: list[Float] = field(default_factory=list)
    """Colours of the skin in the first frames."""

    def add(self, index: int, face: Face, timed: Timed) -> None:
        """Add the face of a frame."""
        image = timed.image
        self.faces[index] = face
        hand = self.find_hand(image, face.landmarks, timed.time_s)
        if hand is not None:
            self.hands[index] = hand
        # Exact: they are pixels of a picture.
        self.colours[index] = face_colours(image, face.landmarks).astype(np.uint8)
        if len(self.skin) < _LOOKS:
            self.skin.append(_skin(image, face))

    @property
    def region(self) -> Region:
        """Region of the newest face."""
        return region_of_landmarks(next(reversed(self.faces.values())).landmarks)

    def looks(self) -> tuple[Float, Float]:
        """Return colours of the skin, and landmarks without expression ``[478, 2]``."""
        chosen = list(self.faces.values())[:: max(len(self.faces) // _LOOKS, 1)]
        # The median over frames: a few mouths wide open or turned heads do not count.
        shapes = np.median([_identity(face) for face in chosen], axis=0)
        return np.median(self.skin, axis=0), shapes


class PeopleTracker:
    """Follows all faces of a video, frame by frame."""

    def __init__(self, threads: int = 1) -> None:
        self._detect, self._read = FaceDetector(threads), FaceReader(threads)
        self._hands = HandFinder(threads)
        self._open: list[_Piece] = []
        self._closed: list[_Piece] = []
        self._times_s: list[float] = []
        self._search_s = 0.0

    def add(self, timed: Timed) -> None:
        """Follow the faces into the next frame, and look for further ones."""
        index = len(self._times_s)
        self._times_s.append(timed.time_s)
        before = len(self._open)
        self._follow(index, timed)
        # Also at once after a loss: the same face may be found again without a gap.
        if timed.time_s >= self._search_s or len(self._open) < before:
            self._search_s = timed.time_s + _DETECT_S
            self._search(index, timed)

    def finish(self) -> list[FaceTrack]:
        """Return the people, from left to right where each is first seen."""
        pieces = [piece for piece in (*self._closed, *self._open) if self._is_real(piece)]
        people = _joined(sorted(pieces, key=lambda piece: min(piece.faces)))
        tracks = [self._track(pieces) for pieces in people]
        return sorted(tracks, key=lambda track: float(first_place(track)[0]))

    def _is_real(self, piece: _Piece) -> bool:
        # A picture has one frame only.
        return len(piece.faces) >= min(_LEAST_FRAMES, len(self._times_s))

    def _track(self, pieces: list[_Piece]) -> FaceTrack:
        faces = {index: face for piece in pieces for index, face in piece.faces.items()}
        return FaceTrack(
            times_s=np.array(self._times_s),
            faces=[faces.get(index) for index in range(len(self._times_s))],
            colours={index: colours for piece in pieces for index, colours in piece.colours.items()},
            hands={index: hand for piece in pieces for index, hand in piece.hands.items()},
        )

    def _follow(self, index: int, timed: Timed) -> None:
        found = [(piece, self._face(timed.image, piece.region)) for piece in self._open]
        # All regions are read first: whether two meet depends on both.
        near = _too_near([face for _, face in found])
        self._open = []
        for (piece, face), doubtful in zip(found, near, strict=True):
            if face is None or doubtful:
                self._closed.append(piece)
            else:
                piece.add(index, face, timed)
                self._open.append(piece)

    def _search(self, index: int, timed: Timed) -> None:
        image = timed.image
        for detection in self._detect(image):
            if any(_distance(detection.region, piece.region) < _SAME for piece in self._open):
                continue
            rough = self._face(image, detection.region)
            # The detector's square is coarse: read again from the landmarks' own.
            face = None if rough is None else self._face(image, region_of_landmarks(rough.landmarks))
            if face is None or any(
                _distance(region_of_landmarks(face.landmarks), piece.region) < _TOO_NEAR
                for piece in self._open
            ):
                continue
            piece = _Piece(find_hand=HandSearch(self._hands))
            piece.add(index, face, timed)
            self._open.append(piece)

    def _face(self, image: Image, region: Region) -> Face | None:
        face = self._read(image, region)
        return face if face.presence >= _PRESENCE_MIN and face.is_finite() else None


def find_people(frames: Iterable[Timed]) -> list[FaceTrack]:
    """Return a track for each person in a video, from left to right where each is first seen."""
    return Steps(follow_people(frames, counted("track", None))).result()


def follow_people(frames: Iterable[Timed], progress: Callable[[int], Progress]) -> Work[list[FaceTrack]]:
    """Find people as `find_people` does, and yield what ``progress`` makes of each frame's number."""
    tracker = PeopleTracker()
    for done, timed in enumerate(frames, start=1):
        tracker.add(timed)
        yield progress(done)
    return tracker.finish()


def first_place(track: FaceTrack) -> Float:
    """Return the centre of a face where it is first seen, image pixels ``[2]``."""
    face = track.faces[track.seen[0]]
    assert face is not None, "the frame shows the face"
    low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
    return np.asarray((low + high) / 2, np.float32)


def _joined(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Join the pieces of each person, the most alike first."""
    looks = {id(piece): piece.looks() for piece in pieces}
    groups = [[piece] for piece in pieces]
    while True:
        pairs = [
            (_difference(a, b, looks), i, j)
            for i, a in enumerate(groups)
            for j, b in enumerate(groups[:i])
            # Two faces in one frame are two people, however alike they look.
            if not _overlap(a, b)
        ]
        # Greedy by likeness: the surest join first, and a wrong one later cannot undo it.
        best = min(pairs, default=(np.inf, 0, 0))
        if best[0] >= _STRANGER:
            return groups
        groups[best[2]] += groups.pop(best[1])


def _difference(a: list[_Piece], b: list[_Piece], looks: dict[int, tuple[Float, Float]]) -> float:
    """Return the smallest difference of two people's pieces."""
    pairs = ((looks[id(one)], looks[id(other)]) for one in a for other in b)
    return min(_unlike(first, second) for first, second in pairs)


def _unlike(first: tuple[Float, Float], second: tuple[Float, Float]) -> float:
    colour = float(np.abs(first[0] - second[0]).mean()) * _COLOUR
    shape = float(np.linalg.norm(first[1] - second[1], axis=1).mean()) * _SHAPE
    return float(np.hypot(colour, shape))


def _overlap(a: list[_Piece], b: list[_Piece]) -> bool:
    return any(one.faces.keys() & other.faces.keys() for one in a for other in b)


def _too_near(faces: list[Face | None]) -> list[bool]:
    regions = [None if face is None else region_of_landmarks(face.landmarks) for face in faces]
    return [
        any(
            one is not None and other is not None and i != j and _distance(one, other) < _TOO_NEAR
            for j, other in enumerate(regions)
        )
        for i, one in enumerate(regions)
    ]


def _distance(a: Region, b: Region) -> float:
    """Return the distance of two regions' centres, divided by the larger side."""
    return float(np.hypot(a.x_px - b.x_px, a.y_px - b.y_px)) / max(a.size_px, b.size_px)


def _identity(face: Face) -> Float:
    """Return canonical landmarks without expression and view, ``[478, 2]``."""
    motion = read_motion(face.landmarks, face.blendshapes)
    read = displacements(motion.shape, motion.expression, motion.pose.rotation)
    shape: Float = (without_view(motion.shape, motion.pose.rotation) - read)[:, :2]
    return shape


_SKIN = (50, 280, 151, 9, 197, 205, 425)
"""Landmarks on cheeks, forehead and nose."""


def _skin(image: Image, face: Face) -> Float:
    """Return the colours of the skin around some landmarks, grey levels ``[7 * 3]``."""
    height, width = image.shape[:2]
    reach = max(round(float(np.ptp(face.landmarks[:, 1])) / 40), 1)
    colours = []
    for x, y in face.landmarks[list(_SKIN), :2].round().astype(int):
        x, y = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
        part = image[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        colours.append(part.reshape(-1, 3).mean(axis=0))
    return np.concatenate(colours).astype(np.float32)
