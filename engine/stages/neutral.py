"""The driver's neutral: what is theirs and not their expression, found while they are watched.

Expression is transferred absolutely (DPE, equation 3): a closed mouth closes the portrait's mouth. What has to be left out
is identity: resting lids and brows differ between people, and so do the places of landmarks. `IdentityFilter` estimates
both over all frames so far, starting from an average resting face, so that the first frame already comes out right,
whatever the driver does in it. `NeutralFinder` picks one calm moment, which relative motion counts from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from mimicam.engine.face.expression_filter import displacements, without_view
from mimicam.engine.face.geometry import GEOMETRY_FILE, face_geometry
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import between
from mimicam.engine.types import BLENDSHAPES, Float, MotionCode

_NAMES = list(BLENDSHAPE_NAMES)
_NEUTRAL_SHAPES = [
    _NAMES.index(n)
    for n in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
              "mouthPucker", "mouthFunnel")
]  # fmt: skip
CALM = np.full(BLENDSHAPES, 0.4, np.float32)
"""Upper limit of a resting blendshape: a driver who starts with closed eyes has not chosen them as neutral."""
CALM[_NEUTRAL_SHAPES] = (0.08, 0.2, 0.2, 0.25, 0.25, 0.3, 0.3, 0.2)
_SETTLE_S = 2.0
_EASE_S, _EASED_S = 0.06, 1.0
"""Time constant of each low pass (96 % after 0.3 s), and when nothing is left of the old neutral. Seconds."""
_SEEN_SHARE = 0.8
"""Weight of a driver's own landmark motion against what the filter of `engine.face.expression_filter` makes of it. Measured
across 14 pairs of people (2026-11): jaws follow at 0.90 with a gain of 0.75; with a weight of 0, 0.85 and 0.61."""
_LONGEST_STEP_S, _MEMORY_S = 0.1, 30.0
"""A frame counts for the time since the one before, at most the first; what is older than the second fades."""
_TRUST_S = 6.0
"""After so many seconds, what was seen of a driver's resting face counts as much as the average resting face."""
_BINS = 50
_RESTING_QUANTILE = 0.2
"""People rest a fifth of the time at least. `training.data.statistics` takes the same quantile of each person."""
_PLAUSIBLE = 2.0
"""Standard deviations between people within which a resting blendshape is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestingFace:
    """The average resting face, and how people differ from it (``training.data.statistics`` computes it)."""

    expression: Float
    """``[52]``, blendshapes."""
    spread: Float
    """``[52]``, standard deviation between people."""
    displacement: Float
    """``[478, 3]``, canonical, zero point as in `engine.face.expression_filter.displacements`."""


@cache
def resting_face() -> RestingFace:
    """The bundled statistics."""
    with np.load(GEOMETRY_FILE) as data:
        return RestingFace(
            expression=data["rest_expression"].astype(np.float32),
            spread=data["rest_spread"].astype(np.float32),
            displacement=data["rest_displacement"].astype(np.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """An expression without the identity of the face that makes it."""

    blendshapes: Float
    """``[52]``"""
    displacement: Float
    """``[478, 3]``, canonical; zero point as in `engine.face.expression_filter.displacements`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neutral:
    """What is known of a driver when a frame is edited."""

    face: MotionCode
    """A calm moment of theirs; relative motion counts from it."""
    expression: Expression
    """Their expression in this frame without their identity; absolute motion transfers it."""
    jumped: bool = False
    """Whether ``face`` changed at once with this frame, instead of being eased."""


def read_expression(motion: MotionCode) -> Expression:
    """The expression in a single picture, of somebody of whom nothing else is known."""
    return Expression(
        blendshapes=motion.expression,
        displacement=displacements(motion.shape, motion.expression, motion.pose.rotation),
    )


def rest_mapped(blendshapes: Float, resting: Float) -> Float:
    """Blendshapes ``[52]`` with a person's resting values ``[52]`` moved to the average ones.

    Piecewise linear; 0 and 1 stay where they are, so that closed eyes are closed for everybody.
    """
    rest = resting_face().expression
    above = rest + (blendshapes - resting) * (1 - rest) / np.maximum(1 - resting, 0.2)
    below = blendshapes * rest / np.maximum(resting, 1e-3)
    mapped: Float = np.where(blendshapes > resting, above, below).astype(np.float32)
    return mapped


class IdentityFilter:
    """Separates a driver's expression from their identity, by all of their frames so far.

    Landmarks: a frame's displacement by expression is read linearly (`engine.face.expression_filter`). The mean of
    what is left over all frames is the driver's own face, and the distance from it is their expression. With one frame
    this is the linear reading itself. Blendshapes: a low quantile of each, trusted as far as people differ, is the
    driver's resting value.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last_ns: int | None = None
        self._own = np.zeros_like(face_geometry().mean)
        self._histogram = np.zeros((BLENDSHAPES, _BINS), np.float32)
        self._resting = resting_face().expression
        self._fixed = False

    def fix(self) -> None:
        """Take the driver as known: later frames change nothing."""
        self._fixed = self._seconds > 0

    def set_resting(self, motion: MotionCode) -> None:
        """Let this face be the driver's resting one, from now on."""
        rest = resting_face()
        self._own = without_view(motion.shape, motion.pose.rotation) - rest.displacement
        self._resting = np.minimum(motion.expression, CALM)
        self._seconds, self._fixed = _MEMORY_S, True

    def __call__(self, motion: MotionCode, captured_ns: int) -> Expression:
        """The expression of this frame, which is counted first."""
        read = displacements(motion.shape, motion.expression, motion.pose.rotation)
        shape = without_view(motion.shape, motion.pose.rotation)
        if not self._fixed:
            self._count(shape - read, motion.expression, self._step(captured_ns))
        displacement = read.copy()
        # Depth is mostly noise of the tracker: there the reading alone counts.
        displacement[:, :2] += _SEEN_SHARE * (shape - self._own - read)[:, :2]
        return Expression(
            blendshapes=rest_mapped(motion.expression, self._resting), displacement=displacement
        )

    def _step(self, captured_ns: int) -> float:
        since = _LONGEST_STEP_S if self._last_ns is None else (captured_ns - self._last_ns) * 1e-9
        self._last_ns = captured_ns
        return min(max(since, 0.0), _LONGEST_STEP_S)

    def _count(self, own: Float, blendshapes: Float, step_s: float) -> None:
        if step_s == 0.0:
            return
        kept = min(1.0, _MEMORY_S / (self._seconds + step_s))
        self._seconds = (self._seconds + step_s) * kept
        self._own += np.float32(step_s * kept / self._seconds) * (own - self._own)
        self._histogram *= kept
        bins = np.clip(blendshapes * _BINS, 0, _BINS - 1).astype(int)
        self._histogram[np.arange(BLENDSHAPES), bins] += step_s * kept
        self._resting = self._estimate_resting()

    def _estimate_resting(self) -> Float:
        """Shrunk towards the average resting face, and within what is plausible of a resting one."""
        below = np.cumsum(self._histogram, axis=1)
        wanted = _RESTING_QUANTILE * below[:, -1:]
        seen = (np.argmax(below >= wanted, axis=1) + 0.5) / _BINS
        rest = resting_face()
        limit = _PLAUSIBLE * rest.spread
        trust = self._seconds / (self._seconds + _TRUST_S)
        resting: Float = rest.expression + trust * np.clip(seen - rest.expression, -limit, limit)
        return resting.clip(0.0, 1.0).astype(np.float32)


class NeutralFinder:
    """The calmest moment of the first two seconds, or the one at `calibrate`."""

    def __init__(self) -> None:
        self._neutral: MotionCode | None = None
        self._cost = np.inf
        self._first_ns: int | None = None
        self._wanted = False
        self._settle_s = _SETTLE_S

    def reset(self) -> None:
        """Search anew."""
        self._neutral, self._cost, self._first_ns = None, np.inf, None

    def fix(self) -> None:
        """Keep what was found: later frames change nothing but by `calibrate`."""
        self._cost = -np.inf

    def search_everywhere(self) -> None:
        """Consider all frames, not only the first two seconds."""
        self._settle_s = np.inf

    def calibrate(self) -> None:
        """Take the next face."""
        self._wanted = True

    @property
    def face(self) -> MotionCode | None:
        """The neutral found so far."""
        return self._neutral

    def __call__(self, motion: MotionCode, captured_ns: int) -> bool:
        """Consider this frame; returns whether its face is the neutral from now on."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        cost = calmness_cost(motion)
        settling = captured_ns - self._first_ns < self._settle_s * 1e9
        chosen = self._wanted or self._neutral is None or (settling and cost < self._cost)
        if chosen:
            self._cost = -np.inf if self._wanted else cost
            self._neutral, self._wanted = motion, False
        return chosen


class DriverNeutral:
    """`NeutralFinder` without a jump, and `IdentityFilter`.

    The calm moment goes over into another one through two low passes, by the frames' own times, so that it starts softly
    and stays near a neutral that is still being found.
    """

    def __init__(self) -> None:
        self._find = NeutralFinder()
        self._identity = IdentityFilter()
        self._calibrating = False
        self._wanted: MotionCode | None = None
        self._wanted_ns = self._last_ns = 0
        self._between: MotionCode | None = None
        self._shown: MotionCode | None = None

    def calibrate(self) -> None:
        """Take the next face."""
        self._find.calibrate()
        self._calibrating = True

    def study(self, motion: MotionCode, captured_ns: int) -> None:
        """Learn from a frame of a recording before any is drawn."""
        self._find.search_everywhere()
        if self._find(motion, captured_ns):
            self._wanted = motion
        self._identity(motion, captured_ns)

    def end_study(self) -> None:
        """What was learnt stays as it is."""
        self._find.fix()
        self._identity.fix()

    def __call__(self, motion: MotionCode, captured_ns: int) -> Neutral:
        """Return what is known of the driver after this frame."""
        jumped, self._calibrating = self._calibrating, False
        if jumped:
            self._identity.set_resting(motion)
        if self._find(motion, captured_ns):
            self._wanted, self._wanted_ns = motion, captured_ns
        face = self._eased(captured_ns)
        return Neutral(face=face, expression=self._identity(motion, captured_ns), jumped=jumped)

    def _eased(self, captured_ns: int) -> MotionCode:
        wanted = self._wanted
        assert wanted is not None, "the first face is always taken"
        share = 1.0 - math.exp(-max(captured_ns - self._last_ns, 0) * 1e-9 / _EASE_S)
        self._last_ns = captured_ns
        if self._between is None or self._shown is None or captured_ns - self._wanted_ns > _EASED_S * 1e9:
            self._between = self._shown = wanted
        else:
            self._between = between(self._between, wanted, share)
            self._shown = between(self._shown, self._between, share)
        return self._shown


def calmness_cost(motion: MotionCode) -> float:
    """Distance from a calm frontal face; 0 is at rest. Sum of blendshapes and of angles in radians."""
    yaw, pitch, roll = motion.pose.angles_rad()
    return float(motion.expression[_NEUTRAL_SHAPES].sum()) + 2 * (abs(yaw) + 0.5 * abs(pitch) + abs(roll))
