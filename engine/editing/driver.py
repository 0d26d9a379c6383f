"""The driver's expression at any time of the source, whatever the two frame rates and lengths
are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import numpy as np

from mimicam.engine.editing.covered import NO_PARTS, keep_covered
from mimicam.engine.editing.head_path import HeadPath
from mimicam.engine.editing.studied import StudiedFace, blend
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.face.covered_parts import Part
from mimicam.engine.face.covers import Covers
from mimicam.engine.maths import smoothstep
from mimicam.engine.stages.neutral import Expression
from mimicam.engine.types import HeadPose

_JOIN_S = 0.25
"""Seconds before the end of a loop over which the driver's first expression is blended in."""
_FADE_S = 0.3
"""Seconds over which the source's own expression takes over before the driver's face is lost."""
_NO_COVERS: Mapping[int, Covers] = MappingProxyType({})


class DriverLength(str, Enum):
    """Choices for the rest of the source where the driver is shorter."""

    HOLD = "hold"
    """The driver's last expression stays."""
    LOOP = "loop"
    """The driver starts again."""
    PING_PONG = "ping-pong"
    """The driver runs backwards, then forwards, and so on."""
    TRIM = "trim"
    """The result ends with the driver."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriverMoment:
    """Expression to take over in one moment."""

    expression: Expression
    share: float
    """1 takes it over, 0 keeps the source's own: the driver's face is not seen."""


class Driver:
    """A driver's expression over the source's time."""

    def __init__(
        self,
        track: FaceTrack,
        *,
        length: DriverLength,
        duration_s: float,
        mirror: bool = False,
        covers: Mapping[int, Covers] = _NO_COVERS,
    ) -> None:
        """Study a driver.

        Args:
            track: the driver's face; at least one frame shows it.
            length: what happens after the driver's end.
            duration_s: seconds from the driver's first to the end of their last frame; 0 for a
                picture.
            mirror: take the mirror image.
            covers: what covers the face, by frame. Covered parts stay as they were before.
        """
        track = keep_covered(track, covers)
        self._face, self._length = StudiedFace(track, mirror=mirror), length
        self._covers = covers
        self._heads = HeadPath(track, mirror=mirror)
        self._duration_s = duration_s
        self._times_s, self._shares = track.times_s, _shares(track)

    @property
    def end_s(self) -> float:
        """Time at which the result ends because of the driver; infinite if it does not."""
        trims = self._length is DriverLength.TRIM and self._duration_s > 0
        return self._duration_s if trims else float("inf")

    @property
    def neutral_pose(self) -> HeadPose:
        """Pose in the driver's calmest frame."""
        return self._heads.neutral

    def covered(self, time_s: float) -> frozenset[Part]:
        """Return the parts of the driver's face that are covered at a time of the source."""
        at_s, _ = self._place(time_s)
        covers = self._covers.get(max(bisect_right(self._times_s, at_s) - 1, 0))
        return NO_PARTS if covers is None else covers.parts

    def pose(self, time_s: float) -> HeadPose:
        """Return the head's pose at a time of the source, in the driver's steady crop."""
        at_s, restart = self._place(time_s)
        return self._heads.at(at_s) if restart == 0.0 else self._heads.mixed(at_s, 0.0, restart)

    def __call__(self, time_s: float) -> DriverMoment | None:
        """Return the expression at a time of the source; None: the driver's face is not seen."""
        at_s, restart = self._place(time_s)
        moment = self._at(at_s)
        if moment is None or restart == 0.0:
            return moment
        first = self._at(0.0)
        if first is None:
            return moment
        return DriverMoment(
            expression=blend(moment.expression, first.expression, restart),
            share=moment.share + restart * (first.share - moment.share),
        )

    def _place(self, time_s: float) -> tuple[float, float]:
        """Return the driver's time, and the share of their first expression near a loop's end."""
        whole_s = self._duration_s
        if (
            whole_s <= 0
            or time_s < whole_s - _JOIN_S
            or self._length in (DriverLength.HOLD, DriverLength.TRIM)
        ):
            return time_s, 0.0
        if self._length is DriverLength.PING_PONG:
            # Forwards in the first half of a period, backwards in the second.
            back = time_s % (2 * whole_s)
            return min(back, 2 * whole_s - back), 0.0
        at_s = time_s % whole_s
        # At most half of a very short driver, or the blend would begin before its start.
        join_s = min(_JOIN_S, whole_s / 2)
        return at_s, smoothstep((at_s - whole_s + join_s) / join_s)

    def _at(self, at_s: float) -> DriverMoment | None:
        share = float(np.interp(at_s, self._times_s, self._shares))
        expression = self._face.at(at_s) if share > 0 else None
        return None if expression is None else DriverMoment(expression=expression, share=share)


def fade_around_losses(track: FaceTrack, fade_s: float) -> np.ndarray:
    """Return for each frame 1 where the face is seen, falling to 0 towards frames without it."""
    seen = np.array([face is not None for face in track.faces])
    lost_s = track.times_s[~seen]
    if not lost_s.size:
        return np.ones(len(seen))
    # Nearest lost frame before and after each one; both are needed for the minimum.
    after = np.searchsorted(lost_s, track.times_s)
    distances = [np.abs(track.times_s - lost_s[np.clip(after - n, 0, len(lost_s) - 1)]) for n in (0, 1)]
    return np.where(seen, smoothstep(np.minimum(*distances) / fade_s), 0.0)


def _shares(track: FaceTrack) -> np.ndarray:
    return fade_around_losses(track, _FADE_S)
