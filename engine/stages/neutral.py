"""Estimate the driver's neutral and identity while they are tracked.

Expression is transferred absolutely (DPE, equation 3): a closed mouth closes the portrait's mouth.
Identity has to be removed: resting lids and brows differ between people, and so do landmark
positions. `IdentityFilter` estimates both over all frames so far. It starts from an average resting
face, so the first frame is right whatever the driver does in it. `NeutralFinder` picks one calm
moment, from which relative motion counts.
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
"""Upper limit of each resting blendshape ``[52]``, so that eyes closed at the start are not taken
as the neutral."""
CALM[_NEUTRAL_SHAPES] = (0.08, 0.2, 0.2, 0.25, 0.25, 0.3, 0.3, 0.2)
_SETTLE_S = 2.0
"""Seconds from the first face within which a calmer face replaces the neutral."""
_EASE_S, _EASED_S = 0.06, 1.0
"""Seconds. Time constant of each low pass (96 % after 0.3 s), and the time after which the old
neutral is gone."""
_LANDMARK_WEIGHT = 0.8
"""Weight of a driver's own landmark motion against the estimate of `engine.face.expression_filter`.
Measured across 14 pairs of people (2026-11): jaws follow at 0.90 with a gain of 0.75. A weight of 0
gives 0.85 and 0.61."""
_LONGEST_STEP_S, _MEMORY_S = 0.1, 30.0
"""Seconds. Largest weight of one frame, which is the time since the frame before, and the span of
the moving average."""
_TRUST_S = 6.0
"""Seconds of tracking after which the driver's own resting values weigh as much as the average
ones."""
_BINS = 50
"""Histogram bins of a blendshape over 0..1."""
_RESTING_QUANTILE = 0.2
"""Quantile taken as a resting blendshape: people rest at least a fifth of the time.
`training.data.statistics` takes the same quantile of each person."""
_PLAUSIBLE = 2.0
"""Largest distance of a resting blendshape from the average, in standard deviations between
people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestingFace:
    """Average resting face and its variation between people.

    ``training.data.statistics`` computes them.
    """

    expression: Float
    """``[52]``, blendshapes."""
    spread: Float
    """``[52]``, standard deviation between people."""
    displacement: Float
    """``[478, 3]``, canonical, zero point as in `engine.face.expression_filter.displacements`."""


@cache
def resting_face() -> RestingFace:
    """Load the bundled statistics, once."""
    with np.load(GEOMETRY_FILE) as data:
        return RestingFace(
            expression=data["rest_expression"].astype(np.float32),
            spread=data["rest_spread"].astype(np.float32),
            displacement=data["rest_displacement"].astype(np.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """Expression of a face without its identity."""

    blendshapes: Float
    """``[52]``, with resting values mapped to the average ones."""
    displacement: Float
    """``[478, 3]``, canonical; zero point as in `engine.face.expression_filter.displacements`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neutral:
    """Neutral and expression of a driver, as the edit of one frame uses them."""

    face: MotionCode
    """Calm moment of the driver; relative motion counts from it."""
    expression: Expression
    """Expression in this frame without the driver's identity; absolute motion transfers it."""
    jumped: bool = False
    """Whether ``face`` was replaced at once with this frame instead of eased."""


def read_expression(motion: MotionCode) -> Expression:
    """Return the expression in a single picture of an unknown person."""
    return Expression(
        blendshapes=motion.expression,
        displacement=displacements(motion.shape, motion.expression, motion.pose.rotation),
    )


def rest_mapped(blendshapes: Float, resting: Float) -> Float:
    """Map a person's resting values ``[52]`` to the average ones in blendshapes ``[52]``.

    The map is piecewise linear and keeps 0 and 1, so that closed eyes stay closed.
    """
    rest = resting_face().expression
    above = rest + (blendshapes - resting) * (1 - rest) / np.maximum(1 - resting, 0.2)
    below = blendshapes * rest / np.maximum(resting, 1e-3)
    mapped: Float = np.where(blendshapes > resting, above, below).astype(np.float32)
    return mapped


def rest_unmapped(mapped: Float, resting: Float) -> Float:
    """Return a person's own blendshapes ``[52]``: the inverse of `rest_mapped`."""
    rest = resting_face().expression
    above = resting + (mapped - rest) * np.maximum(1 - resting, 0.2) / (1 - rest)
    below = mapped * np.maximum(resting, 1e-3) / np.maximum(rest, 1e-6)
    own: Float = np.where(mapped > rest, above, below).astype(np.float32)
    return own


class IdentityFilter:
    """Separates a driver's expression from their identity, using all frames so far.

    Landmarks: `engine.face.expression_filter` estimates each frame's displacement by expression.
    The mean remainder over all frames is the driver's own face. The distance from it is their
    expression. With one frame this equals the filter's estimate.

    Blendshapes: a low quantile of each, shrunk towards the average, is the driver's resting value.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last_ns: int | None = None
        self._own = np.zeros_like(face_geometry().mean)
        self._histogram = np.zeros((BLENDSHAPES, _BINS), np.float32)
        self._resting = resting_face().expression
        self._fixed = False

    @property
    def resting(self) -> Float:
        """Estimated resting blendshapes of the driver, ``[52]``."""
        return self._resting

    def fix(self) -> None:
        """Stop learning: later frames no longer change the estimate."""
        self._fixed = self._seconds > 0

    def set_resting(self, motion: MotionCode) -> None:
        """Take this face as the driver's resting one from now on."""
        rest = resting_face()
        self._own = without_view(motion.shape, motion.pose.rotation) - rest.displacement
        self._resting = np.minimum(motion.expression, CALM)
        self._seconds, self._fixed = _MEMORY_S, True

    def __call__(self, motion: MotionCode, captured_ns: int) -> Expression:
        """Count this frame and return its expression."""
        read, shape = _read(motion)
        # Counted first, so that the first frame already defines the driver's own face.
        if not self._fixed:
            self._count(shape - read, motion.expression, self._step(captured_ns))
        return self._expression(motion, read, shape)

    def uncounted(self, motion: MotionCode) -> Expression:
        """Return the expression of a frame that does not count, since parts of it are invented."""
        return self._expression(motion, *_read(motion))

    def _expression(self, motion: MotionCode, read: Float, shape: Float) -> Expression:
        displacement = read.copy()
        # The tracker's depth is mostly noise, so the filter alone decides there.
        displacement[:, :2] += _LANDMARK_WEIGHT * (shape - self._own - read)[:, :2]
        return Expression(
            blendshapes=rest_mapped(motion.expression, self._resting), displacement=displacement
        )

    def _step(self, captured_ns: int) -> float:
        since = _LONGEST_STEP_S if self._last_ns is None else (captured_ns - self._last_ns) * 1e-9
        self._last_ns = captured_ns
        # A frame after a gap weighs no more than a usual one.
        return min(max(since, 0.0), _LONGEST_STEP_S)

    def _count(self, own: Float, blendshapes: Float, step_s: float) -> None:
        if step_s == 0.0:
            return
        # Once the weights sum to the span, each new frame shrinks the older ones.
        kept = min(1.0, _MEMORY_S / (self._seconds + step_s))
        self._seconds = (self._seconds + step_s) * kept
        self._own += np.float32(step_s * kept / self._seconds) * (own - self._own)
        self._histogram *= kept
        bins = np.clip(blendshapes * _BINS, 0, _BINS - 1).astype(int)
        self._histogram[np.arange(BLENDSHAPES), bins] += step_s * kept
        self._resting = self._estimate_resting()

    def _estimate_resting(self) -> Float:
        """Return the quantile, kept plausible and shrunk towards the average resting face."""
        below = np.cumsum(self._histogram, axis=1)
        rank = _RESTING_QUANTILE * below[:, -1:]
        # Centre of the first bin at which the cumulated histogram reaches the quantile.
        quantile = (np.argmax(below >= rank, axis=1) + 0.5) / _BINS
        rest = resting_face()
        limit = _PLAUSIBLE * rest.spread
        trust = self._seconds / (self._seconds + _TRUST_S)
        resting: Float = rest.expression + trust * np.clip(quantile - rest.expression, -limit, limit)
        return resting.clip(0.0, 1.0).astype(np.float32)


def _read(motion: MotionCode) -> tuple[Float, Float]:
    """Return the displacement by expression that a frame alone gives, and its shape without view."""
    read = displacements(motion.shape, motion.expression, motion.pose.rotation)
    return read, without_view(motion.shape, motion.pose.rotation)


class NeutralFinder:
    """Finds the calmest face of the first two seconds, or takes the one at `calibrate`."""

    def __init__(self) -> None:
        self._neutral: MotionCode | None = None
        self._cost = np.inf
        self._first_ns: int | None = None
        self._take_next = False
        self._settle_s = _SETTLE_S

    def reset(self) -> None:
        """Start the search again with the next face."""
        self._neutral, self._cost, self._first_ns = None, np.inf, None

    def fix(self) -> None:
        """Keep the neutral; only `calibrate` replaces it from now on."""
        self._cost = -np.inf

    def search_everywhere(self) -> None:
        """Consider all frames, not only the first two seconds."""
        self._settle_s = np.inf

    def calibrate(self) -> None:
        """Take the next face as the neutral."""
        self._take_next = True

    @property
    def face(self) -> MotionCode | None:
        """Neutral found so far, if any."""
        return self._neutral

    def __call__(self, motion: MotionCode, captured_ns: int) -> bool:
        """Consider this frame; return whether its face is the neutral from now on."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        cost = calmness_cost(motion)
        settling = captured_ns - self._first_ns < self._settle_s * 1e9
        chosen = self._take_next or self._neutral is None or (settling and cost < self._cost)
        if chosen:
            # No calmer face may replace a calibrated neutral.
            self._cost = -np.inf if self._take_next else cost
            self._neutral, self._take_next = motion, False
        return chosen


class DriverNeutral:
    """Combines `NeutralFinder`, without jumps, and `IdentityFilter`.

    A change of the neutral passes two low passes, by the frames' own times. It starts softly and
    stays near a neutral that is still being searched.
    """

    def __init__(self) -> None:
        self._find = NeutralFinder()
        self._identity = IdentityFilter()
        self._calibrating = False
        self._target: MotionCode | None = None
        self._target_ns = self._last_ns = 0
        self._first_pass: MotionCode | None = None
        self._second_pass: MotionCode | None = None

    def calibrate(self) -> None:
        """Take the next face as the neutral."""
        self._find.calibrate()
        self._calibrating = True

    def restart(self) -> None:
        """Forget the neutral: another person is followed from the next face on."""
        self._find, self._identity = NeutralFinder(), IdentityFilter()
        self._calibrating = False
        self._first_pass = self._second_pass = None

    def study(self, motion: MotionCode, captured_ns: int) -> None:
        """Learn from a frame of a recording, before any frame is drawn."""
        self._find.search_everywhere()
        if self._find(motion, captured_ns):
            self._target = motion
        self._identity(motion, captured_ns)

    def end_study(self) -> None:
        """Stop learning: the estimate stays as it is."""
        self._find.fix()
        self._identity.fix()

    def __call__(self, motion: MotionCode, captured_ns: int) -> Neutral:
        """Return the driver's neutral and expression after this frame."""
        jumped, self._calibrating = self._calibrating, False
        if jumped:
            self._identity.set_resting(motion)
        if self._find(motion, captured_ns):
            self._target, self._target_ns = motion, captured_ns
        face = self._eased(captured_ns)
        return Neutral(face=face, expression=self._identity(motion, captured_ns), jumped=jumped)

    def _eased(self, captured_ns: int) -> MotionCode:
        target = self._target
        assert target is not None, "the first face is always taken"
        share = 1.0 - math.exp(-max(captured_ns - self._last_ns, 0) * 1e-9 / _EASE_S)
        self._last_ns = captured_ns
        if (
            self._first_pass is None
            or self._second_pass is None
            or captured_ns - self._target_ns > _EASED_S * 1e9
        ):
            # The first face, or no visible rest of the old neutral: end the easing exactly.
            self._first_pass = self._second_pass = target
        else:
            self._first_pass = between(self._first_pass, target, share)
            self._second_pass = between(self._second_pass, self._first_pass, share)
        return self._second_pass


def calmness_cost(motion: MotionCode) -> float:
    """Return the distance from a calm frontal face; 0 is at rest.

    Sum of blendshapes and of angles in radians.
    """
    yaw, pitch, roll = motion.pose.angles_rad()
    return float(motion.expression[_NEUTRAL_SHAPES].sum()) + 2 * (abs(yaw) + 0.5 * abs(pitch) + abs(roll))
