"""Keep the parts of a face that something covers: the tracker invents what it cannot see.

A covered mouth, with the jaw, stays as it was last seen, then eases to the driver's usual mouth. A
covered eye takes part in what the other eye does, or rests if both are covered. All other motion,
and the head's pose, go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np

from mimicam.engine.face.geometry import RIGID, canonical_shape, face_geometry, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.regions import blendshape_weights, landmark_weights
from mimicam.engine.maths import smoothstep
from mimicam.engine.types import Face, Float, HeadPose

Part = Literal["mouth", "right eye", "left eye"]
PARTS: tuple[Part, ...] = ("mouth", "right eye", "left eye")

_BEFORE_S = 0.15
"""Seconds before a cover was noticed up to which a part is trusted: it may have come in before."""
_ON_S, _OFF_S = 0.1, 0.3
"""Seconds of easing into what is kept, and back."""
_HOLD_S, _REST_S = 2.0, 1.5
"""Seconds for which the last mouth is kept, and of its easing to the usual one."""
_USUAL_STEP_S, _USUAL_COUNT = 0.25, 40
"""Seconds between the faces whose median is the usual one, and their largest number."""
_LONGEST_STEP_S = 0.1
_IRISES = slice(468, 478)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Face in one frame, or the median of several."""

    seconds: float
    shape: Float
    """``[478, 3]``, canonical."""
    blendshapes: Float


@dataclass(slots=True, kw_only=True)
class _Cover:
    """State of one part."""

    amount: float = 0.0
    """Progress of the easing, 0..1: 1 keeps the part."""
    since_s: float = 0.0
    kept: _Seen | None = None
    recent: deque[_Seen] = field(default_factory=lambda: deque(maxlen=16))
    """Newest frames in which the part was free."""
    sampled: deque[_Seen] = field(default_factory=lambda: deque(maxlen=_USUAL_COUNT))
    usual: _Seen | None = None

    def see(self, seen: _Seen) -> None:
        """Remember a frame in which the part is free."""
        self.recent.append(seen)
        if not self.sampled or seen.seconds - self.sampled[-1].seconds >= _USUAL_STEP_S:
            self.sampled.append(seen)

    def start(self, seconds: float) -> None:
        """Fix what is kept, unless the part still returns from being covered."""
        # A cover that comes back within the easing is the same one: what shows meanwhile is half
        # kept.
        if self.amount > 0.0 and self.kept is not None:
            return
        self.since_s = seconds
        trusted = [seen for seen in self.recent if seen.seconds <= seconds - _BEFORE_S]
        self.kept = trusted[-1] if trusted else None
        self.usual = _median(self.sampled) if trusted else None


class KeepCovered:
    """Replaces covered parts of one driver's faces, in the order of the frames."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything about the driver."""
        self._covers: dict[Part, _Cover] = {part: _Cover() for part in PARTS}
        self._covered: frozenset[Part] = frozenset()
        self._last_s = 0.0

    def __call__(self, face: Face, pose: HeadPose, covered: Collection[Part], captured_ns: int) -> Face:
        """Return the face with its covered parts as they were; without any, the face itself."""
        seconds = captured_ns * 1e-9
        seen = _Seen(
            seconds=seconds, shape=canonical_shape(face.landmarks, pose), blendshapes=face.blendshapes
        )
        self._advance(seen, covered)
        if all(cover.amount == 0.0 or cover.kept is None for cover in self._covers.values()):
            return face
        shape, blendshapes = seen.shape.copy(), seen.blendshapes.copy()
        for part, cover in self._covers.items():
            kept = self._kept(part, seen)
            if kept is not None and cover.amount > 0.0:
                # float32, or NumPy would make the whole sum float64.
                share = np.float32(smoothstep(cover.amount))
                shape += share * part_landmarks(part) * (kept.shape - seen.shape)
                blendshapes += share * part_blendshapes(part) * (kept.blendshapes - seen.blendshapes)
        landmarks = place(shape, pose)
        # `place` counts depth from the rigid points' mean; the tracker has an origin of its own.
        landmarks[:, 2] += face.landmarks[RIGID, 2].mean()
        return replace(face, landmarks=landmarks, blendshapes=blendshapes)

    def _advance(self, seen: _Seen, covered: Collection[Part]) -> None:
        # A pause of the source must not complete an easing in one frame.
        step_s = min(max(seen.seconds - self._last_s, 0.0), _LONGEST_STEP_S)
        self._last_s = seen.seconds
        for part, cover in self._covers.items():
            if part in covered:
                if part not in self._covered:
                    cover.start(seen.seconds)
                cover.amount = min(cover.amount + step_s / _ON_S, 1.0)
            else:
                cover.amount = max(cover.amount - step_s / _OFF_S, 0.0)
                if cover.amount == 0.0:
                    cover.see(seen)
        self._covered = frozenset(covered)

    def _kept(self, part: Part, seen: _Seen) -> _Seen | None:
        cover = self._covers[part]
        kept, usual = cover.kept, cover.usual
        if kept is None or usual is None:
            return None
        if part == "mouth":
            return _between(kept, usual, smoothstep((seen.seconds - cover.since_s - _HOLD_S) / _REST_S))
        other = _OTHER_EYE[part]
        # The other eye tells when to blink and where to look; without it the eye rests.
        return usual if other in self._covered else _with_other_eye(usual, seen)


_OTHER_EYE: dict[Part, Part] = {"right eye": "left eye", "left eye": "right eye"}


def _with_other_eye(usual: _Seen, seen: _Seen) -> _Seen:
    """Return the usual face in which each eye does what the other one does now."""
    moved = (seen.shape - usual.shape)[face_geometry().mirror]
    # Lids are mirrored. Both irises move to the same side.
    moved[: _IRISES.start, 0] *= -1
    changed = (seen.blendshapes - usual.blendshapes)[_OTHER_SIDE]
    return _Seen(
        seconds=seen.seconds,
        shape=usual.shape + moved,
        blendshapes=np.clip(usual.blendshapes + changed, 0.0, 1.0),
    )


def _between(a: _Seen, b: _Seen, share: float) -> _Seen:
    part = np.float32(share)
    return _Seen(
        seconds=b.seconds,
        shape=a.shape + part * (b.shape - a.shape),
        blendshapes=a.blendshapes + part * (b.blendshapes - a.blendshapes),
    )


def _median(faces: Collection[_Seen]) -> _Seen:
    # One axis after another: a median copies its input several times.
    axes = [np.median([seen.shape[:, axis] for seen in faces], axis=0) for axis in range(3)]
    return _Seen(
        seconds=max(seen.seconds for seen in faces),
        shape=np.stack(axes, axis=1).astype(np.float32),
        blendshapes=np.median([seen.blendshapes for seen in faces], axis=0).astype(np.float32),
    )


@cache
def part_landmarks(part: Part) -> Float:
    """Return how much each landmark belongs to a part, ``[478, 1]`` in 0..1."""
    if part == "mouth":
        both: Float = landmark_weights("mouth") + landmark_weights("jaw")
        return both
    x = face_geometry().mean[:, :1]
    # The driver's right eye has the smaller x.
    side = x < 0 if part == "right eye" else x > 0
    return landmark_weights("eyes") * side.astype(np.float32)


@cache
def part_blendshapes(part: Part) -> Float:
    """Return 1 for each blendshape of a part, 0 for the others, ``[52]``."""
    if part == "mouth":
        both: Float = blendshape_weights("mouth") + blendshape_weights("jaw")
        return both
    end = "Right" if part == "right eye" else "Left"
    side = np.array([name.endswith(end) for name in BLENDSHAPE_NAMES], np.float32)
    return blendshape_weights("eyes") * side


def _opposite(name: str) -> str:
    """Return the blendshape of the other side; eyes that look aside do so in one direction."""
    swap = {"Left": "Right", "Right": "Left"}
    stem, end = next(((name[: -len(end)], end) for end in swap if name.endswith(end)), (name, ""))
    if stem in ("eyeLookIn", "eyeLookOut"):
        stem = "eyeLookOut" if stem == "eyeLookIn" else "eyeLookIn"
    return stem + swap.get(end, "")


_OTHER_SIDE = np.array([list(BLENDSHAPE_NAMES).index(_opposite(name)) for name in BLENDSHAPE_NAMES])
