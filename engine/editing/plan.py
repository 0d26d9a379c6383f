"""Plan of an edit over time: constant changes, keyframes, and the range that is edited."""

from __future__ import annotations

from dataclasses import dataclass, field

from mimicam.engine.editing.channels import NO_CHANGES, Changes, turns_eyes
from mimicam.engine.editing.keyframes import NO_KEYFRAMES, Keyframes
from mimicam.engine.errors import EngineError
from mimicam.engine.face.regions import REGIONS
from mimicam.engine.maths import smoothstep

_FADE_S = 0.12
"""Seconds over which an edit fades in after the start of its range, and out before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Changes over the time of a video."""

    changes: Changes = NO_CHANGES
    """Changes in every moment. A keyframe's channel takes the place of the same one here."""
    keyframes: Keyframes = field(default=NO_KEYFRAMES)
    start_s: float = 0.0
    """Seconds since the source's first frame from which it is edited."""
    end_s: float = float("inf")
    """Seconds from which it is no longer edited."""

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise EngineError(
                f"--start and --end must be 0 or more, and the end later, not {self.start_s:g} and {self.end_s:g}"
            )

    def at(self, time_s: float) -> Changes:
        """Return the changes at a time."""
        keyed = self.keyframes.at(time_s)
        if not keyed:
            return self.changes
        # Keyframes name both alike: regions of the face are strengths, all other names presets.
        presets = {name: value for name, value in keyed.items() if name not in REGIONS}
        strengths = {name: value for name, value in keyed.items() if name in REGIONS}
        return Changes(
            presets={**self.changes.presets, **presets},
            strengths={**self.changes.strengths, **strengths},
            replaced=self.keyframes.replaced,
        )

    @property
    def turns_eyes(self) -> bool:
        """Whether a preset turns the gaze to the camera at some time."""
        return any(turns_eyes(name) for name in (*self.changes.presets, *self.keyframes.channels))

    def share(self, time_s: float) -> float:
        """Return how far the range is edited at a time: 1 inside, 0 outside, with soft ends."""
        # A range from the very start has no ramp: the first frame must be edited in full.
        rise = 1.0 if self.start_s == 0 else (time_s - self.start_s) / _FADE_S
        fall = (self.end_s - time_s) / _FADE_S
        return smoothstep(float(min(rise, fall, 1.0)))

    def describe(self) -> list[str]:
        """Return the plan as lines for people."""
        lines = [f"{name} = {value:g}" for name, value in self.changes.presets.items()]
        lines += [f"strength of {name} = {value:g}" for name, value in self.changes.strengths.items()]
        if (self.start_s, self.end_s) != (0.0, float("inf")):
            end = "the end" if self.end_s == float("inf") else f"{self.end_s:g} s"
            lines.append(f"edited from {self.start_s:g} s to {end}")
        return lines + self.keyframes.describe()
