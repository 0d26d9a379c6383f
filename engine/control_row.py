"""The row of a control, and what is read from a class whose fields are rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
S = TypeVar("S")
Value = str | float | int | bool
"""A control's value outside of Python: in a message, in an option, on the page."""
_ROW = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One row of the table."""

    name: str = ""
    default: Any = None
    """Its type decides the kind: bool is a switch, float a number, others are choices."""
    help: str
    """Help of the option, description in the schema, tooltip on the page."""
    label: str = ""
    """Caption on the page."""
    section: str = ""
    """Place on the page: a name in ``static/index.html``. Empty: the page has no input for it."""
    minimum: float = 0.0
    maximum: float | None = None
    """End of a number's range, which is shown as a slider."""
    step: float = 0.05
    """Smallest change on the page."""
    unit: str = ""
    """``%`` shows a number times 100."""
    choices: Mapping[Any, str] = field(default_factory=dict)
    """Each allowed value and its caption on the page, in the page's order."""
    segments: bool = False
    """Choices are shown side by side, not as a list."""

    def plain(self, value: Any) -> Value:
        """Convert a value of the settings class to one outside of Python."""
        return value.value if isinstance(value, Enum) else value

    def typed(self, value: Value) -> Any:
        """Convert a value that was checked to the type of the settings class."""
        return type(self.default)(value)

    @property
    def values(self) -> list[Value]:
        """List the allowed values of a choice."""
        return [self.plain(choice) for choice in self.choices]

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            ValueError: it is outside the range, or none of the choices.
        """
        if self.choices and self.plain(value) not in self.values:
            names = ", ".join(map(str, self.values))
            raise ValueError(f"{self.name} must be one of {names}, got {self.plain(value)}")
        if self.maximum is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"{self.name} must lie in {self.minimum:g}..{self.maximum:g}, got {value:g}")


def control(default: T, **row: Any) -> T:
    """Declare a field of a settings class as a row, with the arguments of `Control`."""
    declared: T = field(default=default, metadata={_ROW: Control(**row)})
    return declared


def controls_of(settings: Any) -> tuple[Control, ...]:
    """List the rows of a settings class, in its order."""
    return _rows_of(settings)


@cache
def _rows_of(settings: Any) -> tuple[Control, ...]:
    return tuple(
        replace(each.metadata[_ROW], name=each.name, default=each.default)
        for each in fields(settings)
        if _ROW in each.metadata and each.default is not MISSING
    )


def values_of(settings: Any) -> dict[str, Value]:
    """Return all values of settings by name, as they are outside of Python."""
    return {row.name: row.plain(getattr(settings, row.name)) for row in controls_of(type(settings))}


def with_values(settings: S, values: Mapping[str, Value]) -> S:
    """Replace values by name.

    Args:
        settings: an instance of a settings class.
        values: as they are outside of Python. Names that the class lacks are ignored.

    Raises:
        ValueError: a value does not fit its row.
    """
    known = [row for row in controls_of(type(settings)) if row.name in values]
    check_all(known, values)
    changes = {row.name: row.typed(values[row.name]) for row in known}
    return replace(settings, **changes)  # type: ignore[type-var]


def check_all(rows: Iterable[Control], values: Mapping[str, Any]) -> None:
    """Check values by their rows.

    Raises:
        ValueError: see `Control.check`.
    """
    for row in rows:
        row.check(values[row.name])
