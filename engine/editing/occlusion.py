"""Leave what lies in front of a face out of an edit: a hand, a microphone or a cup.

Covered parts keep the source's own motion, so that nothing moves there. A mask keeps the pixels of
what covers them. Both come and go softly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from mimicam.engine.editing.smoothing import Times
from mimicam.engine.face.covered_parts import PARTS, Part, part_blendshapes, part_landmarks
from mimicam.engine.face.covers import POINTS, Covers
from mimicam.engine.face.landmarks import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.face.skin_colours import Flags
from mimicam.engine.maths import smoothstep
from mimicam.engine.types import LANDMARKS, Float, MotionCode

_ON_S, _OFF_S = 0.1, 0.3
"""Seconds of easing an edit out once a cover is noticed, and in again."""
_LONGEST_STEP_S = 0.1
_PART_S, _MASK_S = (0.2, 0.5), (0.1, 0.3)
"""Seconds around a frame with a cover up to which a recording is left as it is there, and from which
it is edited in full: covered parts, since a hand comes and goes gradually, and single landmarks."""
_NEAR = 0.1
"""Crop units. Standard deviation of the Gaussian over which odd landmarks are counted."""
_SHARE = (0.05, 0.2)
"""Share of odd landmarks nearby from which pixels begin to be kept, and from which they are kept in
full: of a hand in the driver's skin colour, a third looks odd."""
_PART_SHARE = 0.15
"""Share of odd landmarks from which a part is left unedited beside another one that is covered: an
eye of which one half is edited would look torn."""
_CHANGING = [*INNER_LIPS, *RIGHT_LIDS, *LEFT_LIDS, *range(468, 478)]
"""Landmarks that look odd at a blink or a word."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occlusion:
    """What lies in front of the face in one frame."""

    parts: Mapping[Part, float]
    """Share to which each part is left unedited, 0..1; parts that are missing are edited."""
    landmarks: Float
    """``[478]`` in 0..1: 1 for landmarks behind something, and around covered parts. Edges of lids
    and lips have 0."""

    def of(self, part: Part) -> float:
        """Return the share to which a part is left unedited."""
        return self.parts.get(part, 0.0)

    def mask(self, landmarks: Float, cells: int) -> Float:
        """Return how far pixels are kept, ``[C, C]`` over the crop in 0..1.

        Args:
            landmarks: of the frame's face, ``[478, 3]``, crop space.
            cells: side of the result.
        """
        column, row = np.clip((landmarks[:, :2].T + 1) * (cells / 2), 0, cells - 1).astype(int)
        place = row * cells + column
        shares = self.landmarks
        weights = (shares**2, shares, shares > 0, _steady())
        counts = (np.bincount(place, each, cells * cells) for each in weights)
        squares, sums, odd, every = (_blurred(each.reshape(cells, cells)) for each in counts)
        # A share of the landmarks, because noses and lips have many more than cheeks.
        low, high = (np.float32(limit) for limit in _SHARE)
        near = smoothstep((_ratio(odd, every) - low) / (high - low))
        # The easing comes after the limits, which would turn it into a jump. Its mean is weighted by
        # itself, so that landmarks that have just begun do not bring back what is left out already.
        return near * _ratio(squares, sums)

    def seen_eyes(self) -> tuple[float, float]:
        """Return how far the person's right and left eye may be turned, 0..1."""
        return 1 - self.of("right eye"), 1 - self.of("left eye")


def _blurred(counts: np.ndarray) -> Float:
    sigma = _NEAR * len(counts) / 2
    blurred: Float = cv2.GaussianBlur(
        counts.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT
    )
    return blurred


def _ratio(part: Float, whole: Float) -> Float:
    """Return 0 where both are 0."""
    ratio: Float = part / whole.clip(1e-6)
    return ratio


def without_occluded(source: MotionCode, target: MotionCode, occlusion: Occlusion | None) -> MotionCode:
    """Return the target with the source's own expression in the covered parts.

    Args:
        source: motion of the face in the frame.
        target: motion to draw.
        occlusion: None: nothing is covered.
    """
    if occlusion is None or not occlusion.parts:
        return target
    shapes = sum((np.float32(share) * part_blendshapes(part) for part, share in occlusion.parts.items()))
    points = sum((np.float32(share) * part_landmarks(part) for part, share in occlusion.parts.items()))
    return replace(
        target,
        expression=target.expression + shapes * (source.expression - target.expression),
        shape=target.shape + points * (source.shape - target.shape),
    )


class LiveOcclusion:
    """Eases the covers of one person's frames, in order."""

    def __init__(self) -> None:
        self._parts = np.zeros(len(PARTS), np.float32)
        self._landmarks = np.zeros(LANDMARKS, np.float32)
        self._last_ns: int | None = None

    def __call__(self, covers: Covers, captured_ns: int) -> Occlusion | None:
        """Return what to leave out of the edit; None: nothing."""
        # A pause of the source must not complete an easing in one frame.
        since_s = 0.0 if self._last_ns is None else (captured_ns - self._last_ns) * 1e-9
        self._last_ns, step_s = captured_ns, min(max(since_s, 0.0), _LONGEST_STEP_S)
        for amounts, goals in zip((self._parts, self._landmarks), _left_out(covers), strict=True):
            amounts += np.where(goals, step_s / _ON_S, -step_s / _OFF_S).astype(np.float32)
            np.clip(amounts, 0.0, 1.0, out=amounts)
        if not self._parts.any() and not self._landmarks.any():
            return None
        return _occlusion(smoothstep(self._parts), smoothstep(self._landmarks))


class RecordedOcclusion:
    """What covers one person in each frame of a recording."""

    def __init__(self, covers: Mapping[int, Covers], times_s: Times) -> None:
        """Set up.

        Args:
            covers: by frame; others show the whole face.
            times_s: ``[N]``, times of all frames.
        """
        self._covers, self._times_s = covers, times_s

    def __call__(self, index: int) -> Occlusion | None:
        """Return what to leave out of the edit in a frame; None: nothing."""
        time_s, reach_s = self._times_s[index], _PART_S[1]
        first, last = np.searchsorted(self._times_s, (time_s - reach_s, time_s + reach_s))
        near = [each for each in range(first, last) if each in self._covers]
        if not near:
            return None
        parts, landmarks = np.zeros(len(PARTS), np.float32), np.zeros(LANDMARKS, np.float32)
        for each in near:
            away_s = abs(float(self._times_s[each] - time_s))
            for amounts, flags, (full_s, end_s) in zip(
                (parts, landmarks), _left_out(self._covers[each]), (_PART_S, _MASK_S), strict=True
            ):
                share = np.float32(smoothstep((end_s - away_s) / (end_s - full_s)))
                np.maximum(amounts, share * flags, out=amounts)
        return _occlusion(parts, landmarks)


def _left_out(covers: Covers) -> tuple[Flags, Flags]:
    """Return which parts and which landmarks one frame alone leaves unedited, ``[3]`` and
    ``[478]``."""
    odd = covers.landmarks & _steady()
    parts = [part in covers.parts or odd[POINTS[part]].mean() > _PART_SHARE for part in PARTS]
    return np.array(parts), odd


def _occlusion(parts: Float, landmarks: Float) -> Occlusion:
    shares = {part: float(share) for part, share in zip(PARTS, parts, strict=True) if share > 0}
    for part, share in shares.items():
        # The pixels fade with the motion: alone, its end would close the window at once.
        landmarks[POINTS[part]] = np.maximum(landmarks[POINTS[part]], np.float32(share))
    return Occlusion(parts=shares, landmarks=landmarks)


@cache
def _steady() -> Flags:
    """Return False for landmarks whose colours change as the face moves, ``[478]``."""
    steady = np.ones(LANDMARKS, bool)
    steady[_CHANGING] = False
    return steady
