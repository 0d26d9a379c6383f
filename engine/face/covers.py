"""Find which parts of a face something covers, such as a hand, a microphone or a cup.

Hands before the mouth are found by networks (`engine.face.hands`), everything else by colours.
There, many landmarks no longer lie on the driver's colours (`engine.face.skin_colours`). What stays
although lips or irises show, such as new glasses, is learned as part of the face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.face.covered_parts import PARTS, Part
from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.skin_colours import Flags, SkinColours, judged_landmarks
from mimicam.engine.types import LANDMARKS, Float

_ON: dict[Part, float] = {"mouth": 0.3, "right eye": 0.4, "left eye": 0.4}
"""Share of a part's landmarks with odd colours from which it is covered."""
_OFF = 0.6
"""The share below which it is free, relative to that."""
_ON_S, _OFF_S = 0.05, 0.12
"""Seconds for which a share has to last."""
_DOUBT = 0.12
"""Share from which a part's colours are not learned."""
_SEEN_MIN = 0.4
"""Share of a part's landmarks that has to be seen."""
_FIRST_S, _LONGEST_S, _SHOWN_S = 2.0, 30.0, 0.6
"""Seconds before which nothing counts as covered, after which a cover belongs to the face, and for
which lips or iris have to show meanwhile for the same."""
_SHOWN, _LEAST_CONTRAST = (0.6, 1.5), 0.01
"""Contrast of lips or iris with which they show, relative to the usual one, and its least value."""
_LEAST_RATE = 0.01
"""Share of the newest frame in the usual contrast."""
_LONGEST_STEP_S = 0.1
_HAND_ON, _HAND_S = 0.6, 0.5
"""Share of the lips' landmarks behind a hand from which it covers the mouth, and seconds for which
it counts after it was seen. A hand beside the mouth in the bundled clip covers up to 0.5 of them,
fingers on the lower lip 0.6 and more (2026-11)."""
Points = npt.NDArray[np.int_]
"""Numbers of landmarks."""

# fmt: off
_MOUTH = np.array([
    61, 291, 0, 17, 37, 267, 84, 314, 40, 270, 91, 321, 18, 200, 164, 57, 287, 43, 273, 106, 335,
    182, 406, 201, 421, 204, 424, 194, 418, 83, 313, 186, 410, 92, 322,
])
_RIGHT_EYE = np.array([
    27, 28, 29, 30, 56, 190, 247, 22, 23, 24, 26, 110, 112, 226, 113, 225, 224, 223, 222, 221, 189,
    31, 228, 229, 230, 231, 232, 33, 133,
])
"""Skin around the lids, which does not change when they close."""
_LIPS = np.array([0, 17, 37, 267, 84, 314, 39, 269, 181, 405, 40, 270, 91, 321])
_AROUND_LIPS = np.array([164, 18, 57, 287, 43, 273, 106, 335, 182, 406, 83, 313, 186, 410, 92, 322, 200])
_RIGHT_IRIS = np.arange(468, 473)
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Covers:
    """Parts of the face that are covered in a frame."""

    parts: frozenset[Part]
    landmarks: Flags
    """Landmarks that lie on something else than the face, ``[478]``. None does unless a part is
    covered."""


NOTHING = Covers(parts=frozenset(), landmarks=np.zeros(LANDMARKS, bool))


class CoverFinder:
    """Finds covered parts of one driver's face, in the order of the frames."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything about the driver."""
        self._colours: SkinColours | None = None
        self._parts = _decisions()
        self._last_s = 0.0
        self._hand, self._hand_s = NOTHING.landmarks, -np.inf
        self._behind_before = False
        """Whether a hand has been before the mouth since the first frame."""
        self.doubtful = NOTHING
        """Parts of which too little looks odd in the newest frame to decide by it alone, with all
        that looks odd."""

    def __call__(self, colours: Float, yaw_rad: float, captured_ns: int, hand: Flags | None = None) -> Covers:
        """Return what is covered.

        Args:
            colours: see `face_colours`.
            yaw_rad: the head's yaw, see `HeadPose.angles_rad`.
            captured_ns: time of the frame.
            hand: landmarks behind a hand, see `engine.face.hands`; None: nobody looked.
        """
        seconds = captured_ns * 1e-9
        step_s = min(max(seconds - self._last_s, 0.0), _LONGEST_STEP_S)
        self._last_s = seconds
        behind = self._behind_hand(hand, seconds)
        hidden: frozenset[Part] = frozenset({"mouth"}) if behind.any() else frozenset()
        # The first frame without a hand defines the colours.
        known = self._colours = self._colours or SkinColours(colours)
        if self._behind_before or (hidden and known.age_s < _FIRST_S):
            # What was learned so far may be the hand's colours.
            known.begin(colours)
            self._parts = _decisions()
            self._behind_before = bool(hidden)
        if self._behind_before:
            return Covers(parts=hidden, landmarks=behind)
        judged = judged_landmarks(yaw_rad)
        odd = known.odd(colours, judged)
        if known.is_another(odd):
            self.reset()
            return NOTHING
        # Before that, the spread of the colours is unknown, and everything would look odd.
        if known.age_s >= _FIRST_S:
            self._judge(known, odd, judged, colours, step_s, hidden)
        known.learn(self._rate(odd, judged, hidden), odd, step_s)
        for part in self._parts.keys() - hidden:
            self._parts[part].learn(colours, step_s / max(known.age_s, step_s, 1e-6))
        doubtful = frozenset(part for part, state in self._parts.items() if state.share >= _DOUBT)
        self.doubtful = Covers(parts=doubtful, landmarks=odd) if doubtful else NOTHING
        parts = hidden.union(part for part, state in self._parts.items() if state.covered)
        return Covers(parts=parts, landmarks=odd | behind) if parts else NOTHING

    def _behind_hand(self, hand: Flags | None, seconds: float) -> Flags:
        """Return the landmarks behind a hand before the mouth; none where there is none."""
        if hand is not None and hand[_LIPS].mean() >= _HAND_ON:
            self._hand, self._hand_s = hand, seconds
        return self._hand if 0 <= seconds - self._hand_s <= _HAND_S else NOTHING.landmarks

    def _judge(
        self,
        known: SkinColours,
        odd: Flags,
        judged: Flags,
        colours: Float,
        step_s: float,
        hidden: frozenset[Part],
    ) -> None:
        for part, state in self._parts.items():
            points = POINTS[part]
            seen = judged[points]
            share = float(odd[points][seen].mean()) if seen.mean() > _SEEN_MIN else 0.0
            if part != "mouth" and not judged.all():
                share = 0.0  # the eyes of a turned head lie in shadows that move
            if not state.covered and state.shows(colours):
                share = 0.0  # a smile moves skin and shows teeth, but the lips stay red
            if share >= _ON[part] and known.restore(points, _DOUBT):
                share = 0.0
            state.update(share, step_s)
            # Also a hand may be redder in its middle than around it, as lips are.
            if part not in hidden and state.belongs_to_face(colours, step_s):
                known.accept(points)
                state.free()

    def _rate(self, odd: Flags, judged: Flags, hidden: frozenset[Part]) -> Float:
        """Return 1 for landmarks that may be learned: a cover comes gradually and must not be."""
        rate = judged.astype(np.float32)
        if any(state.covered for state in self._parts.values()):
            rate[odd] = 0.0
        for part, state in self._parts.items():
            if part in hidden or state.covered or state.share >= _DOUBT:
                rate[POINTS[part]] = 0.0
        return rate


@dataclass(slots=True, kw_only=True)
class _Decision:
    """Whether one part is covered."""

    on: float
    """See `_ON`."""
    contrast: Callable[[Float], float]
    """Returns how clearly lips or iris show in a frame's colours."""
    covered: bool = False
    share: float = 0.0
    """Share of odd landmarks in the newest frame."""
    _usual: float = 0.0
    _for_s: float = 0.0
    """Seconds for which the share has spoken for a change."""
    _covered_s: float = 0.0
    _shown_s: float = 0.0

    def update(self, share: float, step_s: float) -> None:
        """Change after the share has spoken for it long enough."""
        self.share = share
        differs = share < _OFF * self.on if self.covered else share >= self.on
        self._for_s = self._for_s + step_s if differs else 0.0
        if self._for_s >= (_OFF_S if self.covered else _ON_S):
            self._set(not self.covered)

    def free(self) -> None:
        """Count as free from now on."""
        self._set(False)
        self.share = 0.0

    def shows(self, colours: Float) -> bool:
        """Whether lips or iris are seen as usual."""
        return _SHOWN[0] < self.contrast(colours) / max(self._usual, _LEAST_CONTRAST) < _SHOWN[1]

    def belongs_to_face(self, colours: Float, step_s: float) -> bool:
        """Whether what covers the part has stayed too long, or lips or iris show all the same."""
        if not self.covered:
            return False
        self._covered_s += step_s
        # Counts up and down: single frames in which a hand moves aside do not decide.
        self._shown_s = max(self._shown_s + (step_s if self.shows(colours) else -step_s), 0.0)
        return self._covered_s > _LONGEST_S or self._shown_s > _SHOWN_S

    def learn(self, colours: Float, rate: float) -> None:
        """Learn the usual contrast while the part is free."""
        if not self.covered:
            self._usual += max(rate, _LEAST_RATE) * (self.contrast(colours) - self._usual)

    def _set(self, covered: bool) -> None:
        self.covered = covered
        self._for_s = self._covered_s = self._shown_s = 0.0


def _decisions() -> dict[Part, _Decision]:
    return {part: _Decision(on=_ON[part], contrast=_CONTRASTS[part]) for part in PARTS}


def _mirrored(points: Points) -> Points:
    return face_geometry().mirror[points]


POINTS: dict[Part, Points] = {"mouth": _MOUTH, "right eye": _RIGHT_EYE, "left eye": _mirrored(_RIGHT_EYE)}
"""Landmarks by which each part is judged."""


def _lips_contrast(colours: Float) -> float:
    """Return how much redder the lips are than the skin around them, as a share of their light."""
    lips, around = (colours[points].mean(axis=0) for points in (_LIPS, _AROUND_LIPS))
    return float(lips[0] / max(lips.sum(), 1.0) - around[0] / max(around.sum(), 1.0))


def _iris_contrast(iris: Points, around: Points) -> Callable[[Float], float]:
    def contrast(colours: Float) -> float:
        light = max(float(colours[around].mean()), 1.0)
        return 1.0 - float(colours[iris].mean()) / light

    return contrast


_CONTRASTS: dict[Part, Callable[[Float], float]] = {
    "mouth": _lips_contrast,
    "right eye": _iris_contrast(_RIGHT_IRIS, _RIGHT_EYE),
    "left eye": _iris_contrast(_mirrored(_RIGHT_IRIS), POINTS["left eye"]),
}
