"""Track one driver's face, and find it again after a loss; see `engine.face.networks`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mimicam.engine.face.identity import Bystander, CutDetector, DriverMemory
from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS, BLENDSHAPE_NAMES
from mimicam.engine.face.networks import (
    FAR,
    NEAR,
    PRESENCE_MIN,
    Detection,
    FaceDetector,
    FaceReader,
    Region,
    region_of_landmarks,
)
from mimicam.engine.types import Face, Float, Image

__all__ = [
    "BLENDSHAPE_LANDMARKS",
    "BLENDSHAPE_NAMES",
    "FAR",
    "NEAR",
    "PRESENCE_MIN",
    "Detection",
    "FaceDetector",
    "FaceReader",
    "FaceTracker",
    "Region",
    "region_of_landmarks",
]

_USUAL_STEP_NS = 40_000_000
"""Time between frames for callers that give none."""
_FIRST_LOOK_NS, _LOOK_NS = 200_000_000, 160_000_000
"""Times between looks for bystanders while the driver is followed. Each look runs one detector."""
_STRANGER_NS = 2_000_000_000
"""For how long the driver must be away, and a stranger be seen and move, before they are
followed."""
_STRANGER_GAP_NS = 500_000_000
_CONTINUOUS_NS = 250_000_000
"""Longest time between two frames after which appearance tells another person. Below, the bundled
clip's driver keeps a likeness of 0.5 to the frame before; at 0.7 s it falls to -0.1 (2026-11)."""
_ALIVE = 0.03
"""Displacement of landmarks, in face sizes, that a poster does not reach."""
_READ_MOST = 4
"""Detections that are read in one frame."""
_APART = 0.5
"""Distance of two faces' centres, in sizes of the larger one's region, from which they are two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A face that the landmark network confirms."""

    face: Face
    region: Region
    patch: Float


class FaceTracker:
    """Tracks one face and detects it again after a loss. Not thread-safe, except `select_next`.

    After a loss, the face that resembles the driver is followed again, wherever it is. Faces that
    were seen beside the driver are never taken for theirs. A stranger is followed after two seconds
    if they move, or at once after a cut.
    """

    def __init__(self, threads: int = 1) -> None:
        # Two detectors: the short range misses small faces, the full range large ones.
        self._near, self._far = FaceDetector(threads), FaceDetector(threads, FAR)
        self._read = FaceReader(threads)
        self._cut = CutDetector()
        self.person = 0
        """Counts up whenever another person is followed."""
        self._select = False
        self.reset()

    def reset(self) -> None:
        """Drop the face; the next frame is searched as a whole."""
        self._region: Region | None = None
        self._last: Region | None = None
        self._memory = DriverMemory()
        self._cut.reset()
        self._now_ns = self._followed_ns = self._look_ns = self._tile = self._turn = 0
        self._stranger: _Candidate | None = None
        self._stranger_since_ns = self._stranger_ns = 0
        self._stranger_moved = False

    def start(self, region: Region) -> None:
        """Read this region first in the next frame."""
        self._region = self._last = region

    def select_next(self) -> None:
        """Follow another face from the next frame on: the next one to the right, then the
        leftmost."""
        self._select = True

    def __call__(self, image: Image, captured_ns: int | None = None) -> Face | None:
        """Return the tracked face, or None.

        Args:
            image: uint8 ``[H, W, 3]``, RGB.
            captured_ns: time of the frame; None counts 25 frames a second.
        """
        self._now_ns = self._now_ns + _USUAL_STEP_NS if captured_ns is None else captured_ns
        # In each frame, also while nobody is followed: it compares with the picture before.
        cut = self._cut(image)
        if self._select:
            self._select = False
            return self._selected(image)
        if self._region is not None and not cut:
            face = self._read(image, self._region)
            if face.presence >= PRESENCE_MIN and self._goes_on(face):
                self._look_around(image)
                return face
        return self._found_again(image, cut)

    def _goes_on(self, face: Face) -> bool:
        """Follow the face that was just read, unless it is a bystander's; note another person."""
        patch, memory = self._read.patch(), self._memory
        # Someone known walked in front; 0.1 keeps noise from deciding.
        if memory.like_bystander(patch) > memory.like_driver(patch) + 0.1:
            return False
        # After a longer gap, a head that turned differs as much as another face does.
        continuous = self._now_ns - self._followed_ns <= _CONTINUOUS_NS
        if continuous and memory.is_another(patch):
            self._follow_new(patch)
        self._follow(face, patch)
        return True

    def _follow(self, face: Face, patch: Float) -> Face:
        self._memory.learn(patch)
        self._stranger, self._followed_ns = None, self._now_ns
        if not face.is_finite():
            return face  # its landmarks give no region: the last one stays
        self._region = self._last = region_of_landmarks(face.landmarks)
        return face

    def _follow_new(self, patch: Float) -> None:
        self.person += 1
        self._memory.start(patch)
        self._look_ns = self._now_ns + _FIRST_LOOK_NS

    def _found_again(self, image: Image, cut: bool) -> Face | None:
        self._region = None
        if cut:
            # After a cut the bystanders' places mean nothing.
            self._memory.bystanders.clear()
        found = self._candidates(image, self._detected(image))
        first = self._memory.driver is None
        chosen = self._driver_of(found)
        if chosen is None and found and (cut or first):
            chosen = max(found, key=lambda c: c.region.size_px)
            self._follow_new(chosen.patch)
        chosen = chosen or self._patient(found)
        if chosen is None:
            return None
        if first:
            self._look_ns = self._now_ns + _FIRST_LOOK_NS
        return self._follow(chosen.face, chosen.patch)

    def _driver_of(self, found: list[_Candidate]) -> _Candidate | None:
        """Return the driver's face; of equal ones that nearest to where they were."""
        memory = self._memory
        if memory.driver is None:
            return max(found, key=lambda c: c.region.size_px, default=None)
        own = [c for c in found if memory.is_driver(c.patch)]
        best = max((memory.like_driver(c.patch) for c in own), default=0.0)
        # Likeness within 0.1 is noise; then the place decides.
        equal = [c for c in own if memory.like_driver(c.patch) > best - 0.1]
        return min(equal, key=lambda c: self._distance(c.region), default=None)

    def _distance(self, region: Region) -> float:
        last = self._last or region
        return math.hypot(region.x_px - last.x_px, region.y_px - last.y_px)

    def _patient(self, found: list[_Candidate]) -> _Candidate | None:
        """Return a stranger who was seen for long and moves."""
        new = [c for c in found if self._memory.like_bystander(c.patch) < _SAME_STRANGER]
        if not new:
            return None
        one = max(new, key=lambda c: c.region.size_px)
        if self._stranger is None or self._now_ns - self._stranger_ns > _STRANGER_GAP_NS:
            self._stranger, self._stranger_since_ns, self._stranger_moved = one, self._now_ns, False
        self._stranger_ns = self._now_ns
        moved = np.abs(one.face.landmarks[:, :2] - self._stranger.face.landmarks[:, :2]).mean()
        # A poster or a picture on the wall is found too, but does not move.
        self._stranger_moved |= bool(moved > _ALIVE * one.region.size_px)
        if not self._stranger_moved or self._now_ns - self._stranger_since_ns < _STRANGER_NS:
            return None
        self._follow_new(one.patch)
        return one

    def _selected(self, image: Image) -> Face | None:
        """Follow another face than the one followed so far."""
        found = sorted(self._candidates(image, self._everywhere(image)), key=lambda c: c.region.x_px)
        here = self._last
        others = [c for c in found if here is None or _apart(c.region, here)]
        if not others:
            return self(image, self._now_ns)
        right = [c for c in others if here is None or c.region.x_px > here.x_px]
        chosen = (right or others)[0]
        self._memory = DriverMemory()
        self._follow_new(chosen.patch)
        return self._follow(chosen.face, chosen.patch)

    def _look_around(self, image: Image) -> None:
        """Remember who else is seen, now and then: one detector at a time, to delay no frame by
        three."""
        if self._now_ns < self._look_ns:
            return
        self._look_ns = self._now_ns + _LOOK_NS
        here = self._region
        known = self._memory.bystanders
        new = [
            d
            for d in self._detected_in_turn(image)
            if here is not None
            and _apart(d.region, here)
            and not any(
                math.hypot(d.region.x_px - b.x_px, d.region.y_px - b.y_px) < 0.3 * b.size_px for b in known
            )
        ]
        for one in self._candidates(image, new):
            if here is not None and _apart(one.region, here):
                self._memory.add_bystander(
                    Bystander(
                        x_px=one.region.x_px,
                        y_px=one.region.y_px,
                        size_px=one.region.size_px,
                        patch=one.patch,
                    )
                )

    def _candidates(self, image: Image, found: list[Detection]) -> list[_Candidate]:
        """Read detections, surest first, and keep those that are faces."""
        kept: list[_Candidate] = []
        for one in found[:_READ_MOST]:
            face = self._read(image, one.region)
            # The detector's box is coarse. Read again from the landmarks' own region, as tracking
            # does.
            if face.presence >= PRESENCE_MIN and face.is_finite():
                face = self._read(image, region_of_landmarks(face.landmarks))
            if face.presence < PRESENCE_MIN or not face.is_finite():
                continue
            region = region_of_landmarks(face.landmarks)
            if all(_apart(region, other.region) for other in kept):
                kept.append(_Candidate(face=face, region=region, patch=self._read.patch()))
        return kept

    def _detected_in_turn(self, image: Image) -> list[Detection]:
        """Detect with the next of the three passes of `_detected`."""
        # One pass a look: three in one frame would delay it by their sum.
        self._turn = (self._turn + 1) % 3
        if self._turn < 2:
            return (self._far, self._near)[self._turn](image)
        return self._in_tile(image, self._next_tile(image))

    def _next_tile(self, image: Image) -> tuple[int, int, int]:
        tiles = _tiles(image)
        self._tile = (self._tile + 1) % len(tiles)
        return tiles[self._tile]

    def _detected(self, image: Image) -> list[Detection]:
        """Detect in the whole picture and in one of its tiles, another one each frame."""
        in_tile = self._in_tile(image, self._next_tile(image))
        return _different([*self._near(image), *self._far(image), *in_tile])

    def _everywhere(self, image: Image) -> list[Detection]:
        in_tiles = [d for tile in _tiles(image) for d in self._in_tile(image, tile)]
        return _different([*self._near(image), *self._far(image), *in_tiles])

    def _in_tile(self, image: Image, tile: tuple[int, int, int]) -> list[Detection]:
        left, top, side = tile
        found = self._far(image[top : top + side, left : left + side])
        return [
            replace(d, region=replace(d.region, x_px=d.region.x_px + left, y_px=d.region.y_px + top))
            for d in found
        ]


_SAME_STRANGER = 0.7
"""Likeness to a bystander from which a stranger is that bystander."""


def _tiles(image: Image) -> list[tuple[int, int, int]]:
    """Return left, top and side of squares that overlap by half: half as large as the picture."""
    height, width = image.shape[:2]
    side = max(height, width) // 2
    lefts = range(0, max(width - side // 2, 1), max(side // 2, 1))
    tops = range(0, max(height - side // 2, 1), max(side // 2, 1))
    return [(left, top, side) for top in tops for left in lefts]


def _different(found: list[Detection]) -> list[Detection]:
    """Keep the surest detection of each face, surest first."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(_apart(one.region, other.region) for other in kept):
            kept.append(one)
    return kept


def _apart(a: Region, b: Region) -> bool:
    return math.hypot(a.x_px - b.x_px, a.y_px - b.y_px) > _APART / 1.5 * max(a.size_px, b.size_px)
