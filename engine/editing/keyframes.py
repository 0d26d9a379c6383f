"""Keyframes: values of channels at times, with easing between them, from JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimicam.engine.editing.channels import check_channel, parse_value
from mimicam.engine.errors import EngineError
from mimicam.engine.maths import smoothstep

EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda part: part,
    "ease": smoothstep,
    "ease-in": lambda part: part * part,
    "ease-out": lambda part: part * (2 - part),
    "hold": lambda _: 0.0,
}
"""Share of the way from one keyframe to the next, as a function of time in 0..1."""
_ADD, _REPLACE = "add", "replace"
_FIELDS = ("time", "channel", "value", "easing", "apply")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Keyframe:
    """Value of a channel at a time."""

    time_s: float
    channel: str
    value: float
    easing: str = "ease"
    """One of `EASINGS`: the way to the channel's next keyframe."""
    apply: str = _ADD
    """``add`` to the expression that is there, or ``replace`` it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframes:
    """All keyframes of an edit, by channel and in order of time."""

    channels: Mapping[str, tuple[Keyframe, ...]] = field(default_factory=dict)

    @property
    def replaced(self) -> frozenset[str]:
        """Channels that replace what is there."""
        return frozenset(n for n, keys in self.channels.items() if any(k.apply == _REPLACE for k in keys))

    def at(self, time_s: float) -> dict[str, float]:
        """Return each channel's value at a time; before the first and after the last it stays."""
        return {name: _value(keys, time_s) for name, keys in self.channels.items()}

    def describe(self) -> list[str]:
        """Return a line for each keyframe, in order of time."""
        keys = sorted(key for keys in self.channels.values() for key in keys)
        return [
            f"{key.time_s:7.2f} s  {key.channel} = {key.value:g}, {key.easing} to the next"
            f"{', replacing' if key.apply == _REPLACE else ''}"
            for key in keys
        ]


NO_KEYFRAMES = Keyframes()


def read_keyframes(path: Path) -> Keyframes:
    """Read a ``.json`` or ``.csv`` file.

    JSON is a list of objects, CSV has a header. Both have ``time``, ``channel`` and ``value``, and
    may have ``easing`` and ``apply``.

    Raises:
        EngineError: the file cannot be read, or a keyframe is not complete; it names the line.
    """
    try:
        # Spreadsheets write a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} cannot be read ({error}): give a JSON or CSV file of keyframes") from error
    rows = _rows_of_json(text, path) if path.suffix.lower() == ".json" else _rows_of_csv(text)
    channels: dict[str, list[Keyframe]] = {}
    for number, row in enumerate(rows, start=1):
        key = _keyframe(row, f"keyframe {number} of {path.name}")
        channels.setdefault(key.channel, []).append(key)
    if not channels:
        raise EngineError(f"{path} holds no keyframes: give rows with {', '.join(_FIELDS[:3])}")
    # Sorted by time, the first field: rows may come in any order.
    return Keyframes(channels={name: tuple(sorted(keys)) for name, keys in channels.items()})


def _rows_of_json(text: str, path: Path) -> list[Any]:
    try:
        rows = json.loads(text)
    # Deeply nested JSON ends in a RecursionError.
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{path} is not JSON ({error}): correct it, or give a CSV file") from error
    if not isinstance(rows, list):
        raise EngineError(f'{path} must hold a list of keyframes: [{{"time": 1, "channel": "smile", ...}}]')
    return rows


def _rows_of_csv(text: str) -> list[Any]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in reader]


def _keyframe(row: Any, where: str) -> Keyframe:
    if not isinstance(row, dict) or not set(_FIELDS[:3]) <= set(row):
        raise EngineError(f"{where} lacks one of {', '.join(_FIELDS[:3])}: add it")
    if unknown := set(row) - set(_FIELDS):
        raise EngineError(f"{where} has the field '{unknown.pop()}': use {', '.join(_FIELDS)}")
    try:
        time_s, value = parse_time(str(row["time"])), parse_value(str(row["value"]))
    except ValueError as error:
        raise EngineError(f"{where} has a time or value that is no number ({error}): correct it") from None
    easing, apply = str(row.get("easing", "ease")), str(row.get("apply", _ADD))
    if easing not in EASINGS or apply not in (_ADD, _REPLACE):
        raise EngineError(f"{where}: easing is one of {', '.join(EASINGS)}, apply is {_ADD} or {_REPLACE}")
    channel = str(row["channel"]).strip()
    try:
        check_channel(channel, value)
    except EngineError as error:
        raise EngineError(f"{where}: {error}") from None
    return Keyframe(time_s=time_s, channel=channel, value=value, easing=easing, apply=apply)


def parse_time(text: str) -> float:
    """Parse seconds, or minutes and seconds with a colon.

    Raises:
        ValueError: it is neither, or negative.
    """
    minutes, _, seconds = text.rpartition(":")
    time_s = 60 * float(minutes or 0) + float(seconds)
    if not 0 <= time_s < float("inf"):
        raise ValueError(f"{text} is not a time")
    return time_s


def _value(keys: tuple[Keyframe, ...], time_s: float) -> float:
    after = bisect_right([key.time_s for key in keys], time_s)
    if after == 0 or after == len(keys):
        return keys[max(after - 1, 0)].value
    start, end = keys[after - 1], keys[after]
    part = (time_s - start.time_s) / (end.time_s - start.time_s)
    return start.value + EASINGS[start.easing](part) * (end.value - start.value)
