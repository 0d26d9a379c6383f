"""Changes beside those by a driver: presets, named blendshapes and strengths of regions.

The presets are those of the library, see `engine.presets.library`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.regions import REGIONS
from mimicam.engine.presets.library import UnknownPresetError, find_preset, preset_names
from mimicam.engine.presets.mix import PresetMix, mix_presets
from mimicam.engine.presets.preset import AMOUNTS, blendshape_vector
from mimicam.engine.types import Float

BLINK = "blink"
"""Scales blinks: 0 removes them, 1 keeps them."""
SHAPES = tuple(name for name in BLENDSHAPE_NAMES if not name.startswith("_"))
"""Blendshapes that can be named, as in ARKit."""
_NO_PRESETS = frozenset({BLINK, *SHAPES})
_STRENGTHS, _BLINKS = (0.0, 2.0), (0.0, 1.0)
_WORDS = {"off": 0.0, "on": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes of the expression in one moment."""

    presets: Mapping[str, float] = field(default_factory=dict)
    """Amount of each preset or named blendshape."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """Strength of each region: 0 keeps the source's expression, 1 takes the driver's. Without a
    driver it scales the source's own."""
    replaced: frozenset[str] = frozenset()
    """Presets and blendshapes whose amount replaces what is there instead of being added."""

    def __post_init__(self) -> None:
        for name, value in self.presets.items():
            _check_preset(name, value)
        for name, value in self.strengths.items():
            _check_strength(name, value)


NO_CHANGES = Changes()


def check_channel(name: str, value: float) -> None:
    """Check a channel of keyframes: a preset, blendshape or region, and the range of its value.

    Raises:
        EngineError: there is none of this name, or the value is outside its range.
    """
    (_check_strength if name in REGIONS else _check_preset)(name, value)


def parse_changes(presets: Iterable[str], strengths: Iterable[str]) -> Changes:
    """Parse words such as ``smile=0.6`` and ``eyes=0.5,mouth=1``.

    Raises:
        EngineError: a word has another form, or names what is not there.
    """
    return Changes(presets=parse_assignments(presets), strengths=parse_assignments(strengths))


def shape_amounts(changes: Changes, shapes: Float, resting: Float) -> Float:
    """Apply presets and named blendshapes to a person's own blendshapes ``[52]``.

    ``resting``: the person's resting values, above which an eye counts as blinking.
    """
    out = shapes.copy()
    for name, value in changes.presets.items():
        if name == BLINK:
            continue
        weights = channel_weights(name)
        if name in changes.replaced:
            # What the channel moves is cleared first: `replace` sets a value instead of adding to
            # it.
            out[weights != 0] = 0.0
        out += np.float32(value) * weights
    if BLINK in changes.presets:
        lids = _lids()
        # Only what lies beyond the person's own resting lids is a blink.
        shut = np.maximum(out[lids] - resting[lids], 0.0)
        out[lids] -= np.float32(1.0 - changes.presets[BLINK]) * shut
    return np.clip(out, 0.0, 1.0)


def preset_mix(changes: Changes) -> PresetMix:
    """Return what the presets among the changes do together."""
    presets = ((name, value) for name, value in changes.presets.items() if name not in _NO_PRESETS)
    return mix_presets((find_preset(name), value) for name, value in presets)


def turns_eyes(name: str) -> bool:
    """Return whether a channel is a preset that turns the gaze to the camera."""
    return name not in (*_NO_PRESETS, *REGIONS) and find_preset(name).eye_contact > 0


def channel_weights(name: str) -> Float:
    """Return what a preset or named blendshape of 1 adds to each blendshape, ``[52]``."""
    return blendshape_vector({name: 1.0}) if name in SHAPES else find_preset(name).weights


def parse_assignments(words: Iterable[str]) -> dict[str, float]:
    """Parse words such as ``smile=0.6,pout=0.2`` and ``blink=off`` to values by name.

    Raises:
        EngineError: a word has another form.
    """
    found: dict[str, float] = {}
    for word in (part for words_ in words for part in words_.split(",")):
        name, _, value = word.partition("=")
        try:
            found[name.strip()] = parse_value(value.strip())
        except ValueError:
            raise EngineError(f"'{word}' must have the form NAME=VALUE, for example smile=0.6") from None
    return found


def parse_value(text: str) -> float:
    """Parse a number, ``on`` or ``off``.

    Raises:
        ValueError: it is none of them.
    """
    value = _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    if not math.isfinite(value):
        raise ValueError(f"text: {text} is not finite")
    return value


def _check_preset(name: str, value: float) -> None:
    _check_range(name, value, _BLINKS if name == BLINK else AMOUNTS)
    if name in _NO_PRESETS:
        return
    try:
        find_preset(name)
    except UnknownPresetError:
        shown = ", ".join([*preset_names(), BLINK])
        raise EngineError(
            f"no channel '{name}': choose one of {shown}, or a blendshape such as jawOpen"
        ) from None


def _check_strength(name: str, value: float) -> None:
    if name not in REGIONS:
        raise EngineError(f"no channel '{name}': choose one of {', '.join(REGIONS)}")
    _check_range(name, value, _STRENGTHS)


def _check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        raise EngineError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")


@cache
def _lids() -> list[int]:
    return [BLENDSHAPE_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
