"""The data channel's messages, and their check against the schema.

``schema.json`` holds the kinds of messages. Its ``settings`` are filled in from the table of
controls, and so are the query parameters of WHIP in ``openapi.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimicam.engine.control_row import Control
from mimicam.engine.web.settings import MessageError, Settings, call_controls

STATIC = Path(__file__).parent / "static"
MAX_MESSAGE = 4096
"""Longest message, in characters."""
_PORTRAIT = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "id from GET /portraits or POST /portraits",
}


def _schema_of(row: Control) -> dict[str, Any]:
    """JSON Schema of one control."""
    described = {"description": row.help}
    if isinstance(row.default, bool):
        return {"type": "boolean", **described}
    if not row.choices:
        return {"type": "number", "minimum": row.minimum, "maximum": row.maximum, **described}
    kind = "integer" if isinstance(row.default, int) else "string"
    return {"type": kind, "enum": row.values, **described}


def _read(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return read


def _message_schema() -> dict[str, Any]:
    schema = _read("schema.json")
    properties = {"portrait": _PORTRAIT, **{row.name: _schema_of(row) for row in call_controls()}}
    schema["$defs"]["settings"]["properties"] = properties
    return schema


SCHEMA = _message_schema()
"""JSON Schema of all messages, returned by ``GET /schema.json``."""
SETTINGS: dict[str, dict[str, Any]] = SCHEMA["$defs"]["settings"]["properties"]


def openapi() -> dict[str, Any]:
    """Describe the routes: ``openapi.json`` with the query parameters of WHIP."""
    described = _read("openapi.json")
    described["paths"]["/whip"]["post"]["parameters"] = [
        {"name": name, "in": "query", "required": False, "description": schema["description"],
         "schema": {key: value for key, value in schema.items() if key != "description"}}
        for name, schema in SETTINGS.items()
    ]  # fmt: skip
    return described


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Replace some settings.

    Raises:
        MessageError: the schema does not allow the changes.
    """
    check(changes, SCHEMA["$defs"]["settings"], "settings")
    return settings.with_values(changes)


def from_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Read settings from the query of an address, where every value is text.

    Raises:
        MessageError: a number or switch is written in another way than in JSON.
    """
    return {name: _from_text(query[name], schema, name) for name, schema in SETTINGS.items() if name in query}


def _from_text(text: str, schema: Mapping[str, Any], name: str) -> Any:
    if schema["type"] == "string":
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{name} must be of type {schema['type']}") from error


def parse(text: str | bytes) -> dict[str, Any]:
    """Parse a message to the server.

    Raises:
        MessageError: it is too long, not JSON, or does not fit the schema.
    """
    if not isinstance(text, str):
        raise MessageError("a message must be text, this one is binary")
    if len(text) > MAX_MESSAGE:
        raise MessageError(f"a message may have {MAX_MESSAGE} characters, this one has {len(text)}")
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("the message is not JSON") from error
    kinds = {kind["properties"]["type"]["const"]: kind for kind in SCHEMA["$defs"]["to_server"]["oneOf"]}
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise MessageError(f"'type' must be one of {', '.join(kinds)}")
    check(message, kinds[kind], kind)
    return dict(message)


def check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Validate a value by the parts of JSON Schema that ``schema.json`` uses.

    Raises:
        MessageError: names the place and the rule.
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
            # Shortened: the answer repeats what a stranger sent.
            raise MessageError(f"{where} has no {name[:32]!r}")
        check(item, known[name], name)


def _check_type(value: Any, kind: str | None, where: str) -> None:
    if kind is None:
        return
    accepted: dict[str, tuple[type, ...]] = {
        "object": (dict,), "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float),
    }  # fmt: skip
    # True is an int in Python, and would pass as a number.
    wrong_bool = isinstance(value, bool) and kind != "boolean"
    if wrong_bool or not isinstance(value, accepted[kind]):
        raise MessageError(f"{where} must be of type {kind}")


def _check_range(value: float, low: float | None, high: float | None, where: str) -> None:
    if (low is not None and value < low) or (high is not None and value > high):
        raise MessageError(f"{where} must lie in {low:g}..{high:g}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
