"""Keep what is covered of the driver's face, and count the frames in which something was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from mimicam.engine.face.covered_parts import KeepCovered, Part
from mimicam.engine.face.covers import CoverFinder, Covers
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.hands import HandFinder, HandSearch
from mimicam.engine.face.skin_colours import face_colours, face_cut
from mimicam.engine.types import Face, Frame, HeadPose

_COUNTED: dict[Part, str] = {"mouth": "mouth", "right eye": "eyes", "left eye": "eyes"}


class CoveredFrames:
    """Number of frames in which the mouth, and one eye or both, were covered. One thread counts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, parts: Collection[Part]) -> None:
        """Count a frame in which these parts are covered."""
        self._counts.update({_COUNTED[part] for part in parts})

    def clear(self) -> None:
        """Start again from none."""
        self._counts = Counter()

    def by_part(self) -> dict[str, int]:
        """Return the counts of ``mouth`` and ``eyes``; one that never was is left out."""
        counts = self._counts
        return {name: counts[name] for name in ("mouth", "eyes") if counts[name]}


class CoverSearch:
    """Finds what covers the faces of a person, and counts the frames."""

    def __init__(self, counts: CoveredFrames, hands: HandFinder | None = None) -> None:
        """Start without a person.

        Args:
            counts: receives the covered parts.
            hands: finds hands before the mouth; None leaves it to the colours.
        """
        self._counts, self._find, self._cut = counts, CoverFinder(), face_cut()
        self._hands = None if hands is None else HandSearch(hands)
        self._person: int | None = None

    def reset(self) -> None:
        """Forget everything about the person."""
        self._find.reset()
        if self._hands is not None:
            self._hands.reset()

    def __call__(self, frame: Frame, face: Face, person: int, pose: HeadPose | None = None) -> Covers:
        """Return what is covered.

        Args:
            frame: shows the face.
            face: as tracked.
            person: number of the person, which changes with the person.
            pose: of the face, where it is known.
        """
        if person != self._person:
            self.reset()
            self._person = person
        yaw, _, _ = (pose or head_pose(face.landmarks)).angles_rad()
        seconds = frame.captured_ns * 1e-9
        hand = None if self._hands is None else self._hands(frame.image, face.landmarks, seconds)
        colours = face_colours(frame.image, face.landmarks, self._cut)
        found = self._find(colours, yaw, frame.captured_ns, hand)
        self._counts.count(found.parts)
        return found


class CoverStage:
    """Replaces covered parts of the driver's faces by what they were before."""

    def __init__(self, counts: CoveredFrames, hands: HandFinder | None = None) -> None:
        """Start without a driver; arguments as for `CoverSearch`."""
        self._search, self._keep = CoverSearch(counts, hands), KeepCovered()
        self._person: int | None = None

    def reset(self) -> None:
        """Forget everything about the driver."""
        self._search.reset()
        self._keep.reset()

    def __call__(self, frame: Frame, face: Face, person: int) -> Face:
        """Return the face to animate from; arguments as for `CoverSearch`."""
        if person != self._person:
            self._keep.reset()
            self._person = person
        pose = head_pose(face.landmarks)
        found = self._search(frame, face, person, pose)
        return self._keep(face, pose, found.parts, frame.captured_ns)


def describe_covered(covered: Mapping[str, int], frames: int, name: str = "covered") -> str:
    """Return one line on covered parts, which begins with a name; empty if there were none."""
    if not covered:
        return ""
    parts = ", ".join(f"{part} in {count}" for part, count in covered.items())
    return f"{name}: {parts} of {frames} frames"
