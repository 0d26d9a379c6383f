"""Generates options of the command line from the table of controls."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Annotated, Any, Literal, TypeVar

import tyro

from mimicam.engine.control_row import Control, controls_of, with_values
from mimicam.engine.controls import EditSettings
from mimicam.engine.errors import EngineError

Command = TypeVar("Command", bound=type)


def with_edit_options(
    defaults: EditSettings, *, without: Container[str] = ()
) -> Callable[[Command], Command]:
    """Add one option for each control of `EditSettings` to a command.

    Apply it below ``dataclass``, which turns the added annotations into fields. Read the options
    back with `edit_of`.

    Args:
        defaults: what the options are where they are not given.
        without: names of controls that the command decides itself, or does not use.
    """

    def add(command: Command) -> Command:
        rows = [row for row in controls_of(EditSettings) if row.name not in without]
        added = {row.name: _type_of(row) for row in rows}
        command.__annotations__ = {**command.__annotations__, **added}
        for row in rows:
            setattr(command, row.name, row.plain(getattr(defaults, row.name)))
        return command

    return add


def edit_of(command: Any) -> EditSettings:
    """Collect the settings from a command that `with_edit_options` extended.

    Controls that are no option of the command keep their defaults.

    Raises:
        EngineError: a number is outside its range.
    """
    rows = [row for row in controls_of(EditSettings) if hasattr(command, row.name)]
    values = {row.name: getattr(command, row.name) for row in rows}
    for row in rows:
        value = values[row.name]
        if row.maximum is not None and not row.minimum <= value <= row.maximum:
            option = row.name.replace("_", "-")
            raise EngineError(
                f"--{option} must lie between {row.minimum:g} and {row.maximum:g}, not {value:g}"
            )
    return with_values(EditSettings(), values)


def _type_of(row: Control) -> Any:
    """Return the annotation of an option, as tyro reads it."""
    if isinstance(row.default, bool):
        return Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help=row.help)]
    if row.choices:
        return Annotated[Literal[tuple(row.values)], tyro.conf.arg(help=row.help)]
    limits = f"{row.minimum:g}..{row.maximum:g}"
    return Annotated[float, tyro.conf.arg(help=row.help, metavar=limits)]
