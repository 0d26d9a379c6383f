"""What can be changed besides the driver: presets, named blendshapes and strengths of regions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.regions import REGIONS
from mimicam.engine.types import BLENDSHAPES, Float

PRESETS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.2, "eyeSquint": 0.15},
    "sad": {"mouthFrown": 0.6, "browInnerUp": 0.5, "mouthShrugLower": 0.3},
    "angry": {"browDown": 0.8, "eyeSquint": 0.3, "noseSneer": 0.3, "mouthPress": 0.3},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.5, "jawOpen": 0.25},
    "eyes-open": {"eyeWide": 0.6, "eyeBlink": -0.4, "eyeSquint": -0.3},
    "brows-up": {"browInnerUp": 0.8, "browOuterUp": 0.8},
    "brows-down": {"browDown": 0.8},
    "mouth-open": {"jawOpen": 0.5},
    "pout": {"mouthPucker": 0.7, "mouthShrugLower": 0.2},
}
"""Amount that a preset of 1 adds to blendshapes; a name without its side stands for both sides."""
BLINK = "blink"
"""Scales blinks: 0 removes them, 1 keeps them."""
SHAPES = tuple(name for name in BLENDSHAPE_NAMES if not name.startswith("_"))
"""Blendshapes that can be named, as in ARKit."""
_LIMITS = {"added": (-2.0, 2.0), "strength": (0.0, 2.0), BLINK: (0.0, 1.0)}
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
            check_channel(name, value, (*PRESETS, BLINK, *SHAPES))
        for name, value in self.strengths.items():
            check_channel(name, value, REGIONS)


NO_CHANGES = Changes()


def check_channel(name: str, value: float, names: Iterable[str]) -> None:
    """Check a channel's name and the range of its value.

    Raises:
        EngineError: the name is none of ``names``, or the value is outside its range.
    """
    if name not in names:
        shown = [each for each in names if each not in SHAPES]
        others = ", or a blendshape such as jawOpen" if len(shown) < len(tuple(names)) else ""
        raise EngineError(f"no channel '{name}': choose one of {', '.join(shown)}{others}")
    kind = "strength" if name in REGIONS else name if name == BLINK else "added"
    low, high = _LIMITS[kind]
    if not low <= value <= high:
        raise EngineError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")


def parse_changes(presets: Iterable[str], strengths: Iterable[str]) -> Changes:
    """Parse words such as ``smile=0.6`` and ``eyes=0.5,mouth=1``.

    Raises:
        EngineError: a word has another form, or names what is not there.
    """
    return Changes(presets=_assignments(presets), strengths=_assignments(strengths))


def shape_amounts(changes: Changes, shapes: Float, resting: Float) -> Float:
    """Apply presets and named blendshapes to a person's own blendshapes ``[52]``.

    ``resting``: the person's resting values, above which an eye counts as blinking.
    """
    out = shapes.copy()
    for name, value in changes.presets.items():
        if name == BLINK:
            continue
        weights = preset_weights(name)
        if name in changes.replaced:
            out[weights != 0] = 0.0
        out += np.float32(value) * weights
    if BLINK in changes.presets:
        lids = _lids()
        shut = np.maximum(out[lids] - resting[lids], 0.0)
        out[lids] -= np.float32(1.0 - changes.presets[BLINK]) * shut
    return np.clip(out, 0.0, 1.0)


@cache
def preset_weights(name: str) -> Float:
    """Return what a preset or named blendshape of 1 adds to each blendshape, ``[52]``."""
    weights = np.zeros(BLENDSHAPES, np.float32)
    for stem, amount in PRESETS.get(name, {name: 1.0}).items():
        for index, each in enumerate(BLENDSHAPE_NAMES):
            if each in (stem, f"{stem}Left", f"{stem}Right"):
                weights[index] = amount
    return weights


def parse_value(text: str) -> float:
    """Parse a number, ``on`` or ``off``.

    Raises:
        ValueError: it is none of them.
    """
    value = _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    if not math.isfinite(value):
        raise ValueError(f"text: {text} is not finite")
    return value


def _assignments(words: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in (part for words_ in words for part in words_.split(",")):
        name, _, value = word.partition("=")
        try:
            found[name.strip()] = parse_value(value.strip())
        except ValueError:
            raise EngineError(f"'{word}' must have the form NAME=VALUE, for example smile=0.6") from None
    return found


@cache
def _lids() -> list[int]:
    return [BLENDSHAPE_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
