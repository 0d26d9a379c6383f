"""A preset: an expression that is added to a face, independent of whose face it is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import BLENDSHAPES, Float

FORMAT = "mimicam preset 1"
"""First field of a preset's file. The number counts up when older programs could misread it."""
AMOUNTS = (-2.0, 2.0)
"""Range of the amount by which a preset is applied; 1 is the preset as it was recorded."""
RESERVED = frozenset({"blink", "eyes", "brows", "mouth", "jaw"})
"""Channels of an edit that are no presets (`engine.editing.channels`, `engine.face.regions`)."""
TAKEN_KEYS = "cfglmnpqrst"
"""Keys of the window and of the studio's page."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LONGEST_S = 60.0
# The tracker's first score, ``_neutral``, is no movement.
_SHAPES = tuple(name for name in BLENDSHAPE_NAMES if not name.startswith("_"))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An expression as distances of blendshapes from the person's own resting face."""

    name: str
    blendshapes: Mapping[str, float] = field(default_factory=dict)
    """Distance from rest by blendshape, -1 to 1. A name without its side stands for both sides."""
    replaces: bool = False
    """Whether the expression that is there gives way to it. Otherwise it is added."""
    eye_contact: float = 0.0
    """Share by which a gaze near the camera is turned to it, 0 to 1."""
    attack_s: float = 0.2
    """Seconds in which it eases in, live."""
    release_s: float = 0.4
    """Seconds in which it eases out, live."""
    hold_s: float | None = None
    """Seconds that it stays after its hotkey was pressed. None: until the key is pressed again."""
    key: str = ""
    """Hotkey, one letter. Empty: it has none."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in RESERVED:
            raise EngineError(
                f"'{self.name}' cannot name a preset: use up to 40 small letters, digits and hyphens, "
                f"and none of {', '.join(sorted(RESERVED))}"
            )
        for stem, amount in self.blendshapes.items():
            if not _indices(stem):
                raise EngineError(f"preset {self.name}: there is no blendshape '{stem}'")
            _check_range(f"preset {self.name}: {stem}", amount, -1.0, 1.0)
        _check_range(f"preset {self.name}: eye_contact", self.eye_contact, 0.0, 1.0)
        for label in ("attack_s", "release_s", "hold_s"):
            if (seconds := getattr(self, label)) is not None:
                _check_range(f"preset {self.name}: {label}", seconds, 0.0, _LONGEST_S)
        if self.key and (not re.fullmatch(r"[a-z]", self.key) or self.key in TAKEN_KEYS):
            raise EngineError(
                f"preset {self.name}: its key must be one small letter, none of {' '.join(TAKEN_KEYS)}"
            )

    @cached_property
    def weights(self) -> Float:
        """Return what an amount of 1 adds to each blendshape, ``[52]``."""
        return blendshape_vector(self.blendshapes)

    def to_json(self) -> str:
        """Return the text of its file."""
        described = {"format": FORMAT, **{name: getattr(self, name) for name in _FIELDS}}
        # Three digits are finer than the tracker reads.
        described["blendshapes"] = {name: round(value, 3) for name, value in self.blendshapes.items()}
        return json.dumps(described, indent=2) + "\n"

    @staticmethod
    def from_json(text: str, where: str) -> Preset:
        """Read the text of a file; ``where`` names it in errors.

        Raises:
            EngineError: it is not a preset.
        """
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{where} is not JSON ({error}): correct it, or remove it") from None
        if not isinstance(read, dict) or read.pop("format", None) != FORMAT:
            raise EngineError(f'{where} is no preset of this version: its "format" must be "{FORMAT}"')
        if unknown := set(read) - set(_FIELDS):
            raise EngineError(f"{where} has the field '{min(unknown)}': use {', '.join(_FIELDS)}")
        _check_types(read, where)
        try:
            return Preset(**read)
        except EngineError as error:
            raise EngineError(f"{where}: {error}") from None


_FIELDS = ("name", "blendshapes", "replaces", "eye_contact", "attack_s", "release_s", "hold_s", "key")


def blendshape_vector(amounts: Mapping[str, float]) -> Float:
    """Return amounts by name as a vector ``[52]``; names without their side fill both sides."""
    vector = np.zeros(BLENDSHAPES, np.float32)
    for stem, amount in amounts.items():
        vector[_indices(stem)] = amount
    return vector


def _indices(stem: str) -> list[int]:
    wanted = (stem, f"{stem}Left", f"{stem}Right")
    return [BLENDSHAPE_NAMES.index(name) for name in wanted if name in _SHAPES]


def _check_range(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise EngineError(f"{what} must lie between {low:g} and {high:g}, not {value:g}")


def _check_types(read: Mapping[str, Any], where: str) -> None:
    """Check what JSON may hold, before a preset is made of it."""
    shapes = read.get("blendshapes", {})
    numbers = [
        read.get("eye_contact", 0.0),
        read.get("attack_s", 0.0),
        read.get("release_s", 0.0),
        read.get("hold_s") or 0.0,
    ]
    fits = (
        isinstance(read.get("name"), str)
        and isinstance(shapes, dict)
        and all(_is_number(value) for value in (*numbers, *shapes.values()))
        and isinstance(read.get("replaces", False), bool)
        and isinstance(read.get("key", ""), str)
    )
    if not fits:
        raise EngineError(f"{where} has a field of another type: compare it with 'mimicam preset show smile'")


def _is_number(value: Any) -> bool:
    # True is an int in Python.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
