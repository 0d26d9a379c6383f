"""The data channel's messages: ``static/schema.json`` is the contract, and what the server checks against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mimicam.engine.types import EditSettings, Mode, MotionReference
from mimicam.engine.web.backdrop import Background

STATIC = Path(__file__).parent / "static"
SCHEMA: dict[str, Any] = json.loads((STATIC / "schema.json").read_text(encoding="utf-8"))
MAX_MESSAGE = 4096
"""Bytes."""

Badge = Literal["bottom-right", "bottom-left", "top-left", "top-right", "off"]
Framing = Literal["wide", "square", "tall"]


class MessageError(ValueError):
    """A message that the schema does not allow; its text goes back to the sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a person may change during a call; the fields are those of the schema."""

    portrait: str
    mode: Literal["exp", "pose", "both"] = "both"
    expression_gain: float = 1.0
    pose_gain: float = 1.0
    expression_motion: Literal["absolute", "relative"] = "absolute"
    pose_motion: Literal["absolute", "relative"] = "relative"
    mirror: bool = True
    framing: Framing = "wide"
    height: int = 480
    background: Background = "kept"
    badge: Badge = "bottom-right"
    standby: bool = False
    measure: bool = False

    def edit(self) -> EditSettings:
        """The part that the pipeline calls edit settings."""
        return EditSettings(
            mode=Mode(self.mode), expression_gain=self.expression_gain, pose_gain=self.pose_gain,
            mirror=self.mirror, expression_motion=MotionReference(self.expression_motion),
            pose_motion=MotionReference(self.pose_motion),
        )  # fmt: skip

    def size(self) -> tuple[int, int]:
        """Width and height of the result, both even."""
        long = round(self.height * 4 / 6) * 2
        shapes = {"wide": (long, self.height), "square": (self.height,) * 2, "tall": (self.height, long)}
        return shapes[self.framing]

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """With some fields replaced.

        Raises:
            MessageError: the schema does not allow them.
        """
        check(changes, SCHEMA["$defs"]["settings"], "settings")
        return replace(self, **changes)

    def within(self, modes: Sequence[Mode]) -> Settings:
        """These settings, for a model that can be driven in ``modes``.

        Raises:
            MessageError: the mode is none of them.
        """
        if Mode(self.mode) in modes:
            return self
        able = " or ".join(mode.value for mode in modes)
        raise MessageError(f"this model cannot be driven in mode {self.mode}: use {able}")


def parse(text: str | bytes) -> dict[str, Any]:
    """A message to the server.

    Raises:
        MessageError: too long, no JSON, or not in the schema.
    """
    if not isinstance(text, str):
        raise MessageError("messages are text, this one is binary")
    if len(text) > MAX_MESSAGE:
        raise MessageError(f"a message may have {MAX_MESSAGE} characters, this one has {len(text)}")
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("the message is no JSON") from error
    kinds = {kind["properties"]["type"]["const"]: kind for kind in SCHEMA["$defs"]["to_server"]["oneOf"]}
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise MessageError(f"'type' must be one of {', '.join(kinds)}")
    check(message, kinds[kind], kind)
    return dict(message)


def check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Hold a value against the parts of JSON Schema that ``schema.json`` uses.

    Raises:
        MessageError: with the place and the rule.
    """
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "const" in schema and value != schema["const"]:
        raise MessageError(f"{where} must be {schema['const']!r}")
    _check_type(value, schema.get("type"), where)
    if "enum" in schema and value not in schema["enum"]:
        raise MessageError(f"{where} must be one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, dict):
        _check_object(value, schema, where)
    elif isinstance(value, str):
        _check_range(len(value), schema.get("minLength"), schema.get("maxLength"), f"the length of {where}")
    elif not isinstance(value, bool):
        _check_range(value, schema.get("minimum"), schema.get("maximum"), where)


def _check_object(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise MessageError(f"{where} lacks '{name}'")
    for name, item in value.items():
        if name not in known:
            raise MessageError(f"{where} has no '{name[:32]}'")
        check(item, known[name], name)


def _check_type(value: Any, kind: str | None, where: str) -> None:
    if kind is None:
        return
    accepted: dict[str, tuple[type, ...]] = {
        "object": (dict,), "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float),
    }  # fmt: skip
    wrong_bool = isinstance(value, bool) and kind != "boolean"
    if wrong_bool or not isinstance(value, accepted[kind]):
        raise MessageError(f"{where} must be of type {kind}")


def _check_range(value: float, low: float | None, high: float | None, where: str) -> None:
    if (low is not None and value < low) or (high is not None and value > high):
        raise MessageError(f"{where} must lie in {low}..{high}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
