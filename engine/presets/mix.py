"""Several presets together in one moment, and their way in and out over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.maths import smoothstep
from mimicam.engine.presets.preset import AMOUNTS, Preset
from mimicam.engine.types import BLENDSHAPES, Float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PresetMix:
    """Sum of all presets in one moment."""

    added: Float
    """Added to each blendshape, ``[52]``."""
    calm: float
    """Share by which the expression that is there gives way to rest, 0..1."""
    eye_contact: float
    """Share by which a gaze near the camera is turned to it, 0..1."""


_WAITING = 64
"""Changes that wait for the next frame; of more, the oldest are dropped."""
NO_MIX = PresetMix(added=np.zeros(BLENDSHAPES, np.float32), calm=0.0, eye_contact=0.0)
"""Nothing is changed. Compare by identity."""


def mix_presets(amounts: Iterable[tuple[Preset, float]]) -> PresetMix:
    """Combine presets with their amounts; `NO_MIX` where all amounts are 0."""
    used = [(preset, amount) for preset, amount in amounts if amount != 0.0]
    if not used:
        return NO_MIX
    added, kept, contact = np.zeros(BLENDSHAPES, np.float32), 1.0, 0.0
    for preset, amount in used:
        added += np.float32(amount) * preset.weights
        contact += amount * preset.eye_contact
        if preset.replaces:
            # Two presets that replace leave the product of what each leaves.
            kept *= 1.0 - min(max(amount, 0.0), 1.0)
    return PresetMix(added=added, calm=1.0 - kept, eye_contact=min(max(contact, 0.0), 1.0))


@dataclass(slots=True, kw_only=True)
class _Way:
    """Amount of one preset over time."""

    start: float = 0.0
    goal: float = 0.0
    since_ns: int = 0
    span_s: float = 0.0
    ends: bool = False
    """Whether it leaves by itself, after its preset's ``hold_s``."""

    def at(self, now_ns: int) -> float:
        passed_s = (now_ns - self.since_ns) * 1e-9
        # Also for a span of 0, by which the ratio below could not be computed.
        if passed_s >= self.span_s:
            return self.goal
        return self.start + smoothstep(max(passed_s, 0.0) / self.span_s) * (self.goal - self.start)


class PresetMixer:
    """Eases presets in and out, by the frames' own times.

    Any thread may call `set` and `press`. One thread calls `at`, once per frame.
    """

    def __init__(self, presets: Iterable[Preset] = ()) -> None:
        """Offer these presets; all start at 0."""
        self.presets: Mapping[str, Preset] = {preset.name: preset for preset in presets}
        self._ways = {name: _Way() for name in self.presets}
        # Filled by any thread, emptied by the drawing thread: a deque's ends are thread-safe.
        self._asked: deque[tuple[str, float | None]] = deque(maxlen=_WAITING)
        self.active: tuple[str, ...] = ()
        """Presets that show now or are on their way in, for display."""

    def set(self, name: str, amount: float) -> None:
        """Ease a preset to an amount.

        Raises:
            EngineError: there is no such preset, or the amount is outside of -2 to 2.
        """
        low, high = AMOUNTS
        if not low <= amount <= high:
            raise EngineError(f"{name} must lie between {low:g} and {high:g}, not {amount:g}")
        self._ask(name, amount)

    def press(self, name: str) -> None:
        """Switch a preset on, or off again if it is on: a hotkey.

        Raises:
            EngineError: there is no such preset.
        """
        self._ask(name, None)

    def at(self, now_ns: int) -> PresetMix:
        """Return the mix at a frame's time."""
        while self._asked:
            self._turn(*self._asked.popleft(), now_ns)
        for name, way in self._ways.items():
            hold_s = self.presets[name].hold_s or 0.0
            if way.ends and (now_ns - way.since_ns) * 1e-9 >= way.span_s + hold_s:
                self._turn(name, 0.0, now_ns)
        # Replaced as a whole, since other threads read it for display.
        self.active = tuple(name for name, way in self._ways.items() if way.goal)
        return mix_presets((self.presets[name], way.at(now_ns)) for name, way in self._ways.items())

    def _ask(self, name: str, amount: float | None) -> None:
        if name not in self.presets:
            known = ", ".join(self.presets) or "none: this model takes no presets"
            raise EngineError(f"there is no preset '{name}' here: choose one of {known}")
        self._asked.append((name, amount))

    def _turn(self, name: str, amount: float | None, now_ns: int) -> None:
        """Start the way to an amount; None switches between 0 and 1."""
        preset, way = self.presets[name], self._ways[name]
        goal = (0.0 if way.goal else 1.0) if amount is None else amount
        now = way.at(now_ns)
        # Away from rest is an attack, towards it a release, for negative amounts too.
        span_s = preset.attack_s if abs(goal) > abs(now) else preset.release_s
        # Only a hotkey leaves by itself; an amount was set on purpose.
        ends = amount is None and goal != 0.0 and preset.hold_s is not None
        self._ways[name] = _Way(start=now, goal=goal, since_ns=now_ns, span_s=span_s, ends=ends)
