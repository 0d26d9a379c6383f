"""Find commands: those of this package, and those that other packages add."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import make_dataclass
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from mimicam.engine.errors import EngineError

ENTRY_POINTS = "mimicam.commands"
"""Entry points of this group add commands: a frozen dataclass whose ``run`` returns None or an exit
code.

A dot separates a group from its command: the entry point ``train.dpe`` is ``mimicam train dpe``.
"""
GROUPS = {
    "models": "List, verify, import and bundle models.",
    "preset": "Record expressions as presets, list them, and print one.",
    "train": "Train a model family on packs; run a command again to continue its run.",
    "figure": "Draw figures of the papers with own models and pictures.",
    "data": "Make training data: cut clips, render heads, and write packs.",
}
_ROOT = "A webcam drives a portrait: expression, head pose, or both, in real time."
_HERE = "mimicam.engine.commands"
_OWN = {
    "run": "run:Run",
    "demo": "demo:Demo",
    "render": "render:Render",
    "edit": "edit:Edit",
    "batch": "batch:RunBatch",
    "report": "report:WriteReport",
    "verify": "verify:Verify",
    "enroll": "enroll:Enroll",
    "retrieve": "retrieve:Retrieve",
    "devices": "devices:Devices",
    "doctor": "doctor:Doctor",
    "models.list": "models:ListModels",
    "models.verify": "models:VerifyModels",
    "models.import": "models:ImportModel",
    "preset.record": "preset:RecordPreset",
    "preset.list": "preset:ListPresets",
    "preset.show": "preset:ShowPreset",
}
COMMANDS = tuple(EntryPoint(name, f"{_HERE}.{place}", ENTRY_POINTS) for name, place in _OWN.items())
"""The commands of this package. They need none of the optional packages."""


class Registry:
    """All commands by name, none of them imported."""

    def __init__(self) -> None:
        points = (*COMMANDS, *entry_points(group=ENTRY_POINTS))
        self._points = {tuple(point.name.split(".")): point for point in points}
        self._groups = {words[:1] for words in self._points if len(words) > 1}

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Every command as the words that a user types."""
        return list(self._points)

    def command_words(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """Return the leading words that name a command, or else a group; empty if they name
        neither."""
        found = (tuple(arguments[:count]) for count in (2, 1))
        return next((words for words in found if words in self._points or words in self._groups), ())

    def is_command(self, words: tuple[str, ...]) -> bool:
        """Tell a command from a group."""
        return words in self._points

    def load(self, words: tuple[str, ...]) -> Any:
        """Import a command.

        Raises:
            EngineError: a package that it needs is missing.
        """
        try:
            return self._points[words].load()
        except ImportError as error:
            raise EngineError(
                f"'mimicam {' '.join(words)}' needs a package that is missing ({error}); "
                "run: pip install 'mimicam[torch,train]'"
            ) from error

    def overview(self, group: tuple[str, ...]) -> dict[str, Any]:
        """Return a stand-in with a summary for each command of a group, or for each command and
        group."""
        here = {words: point for words, point in self._points.items() if words[:-1] == group}
        summaries = {words[-1]: _summary(point) for words, point in here.items()}
        if not group:
            summaries |= {name: self.description((name,)) for (name,) in sorted(self._groups)}
        return {name: _stand_in(summary) for name, summary in summaries.items()}

    def description(self, group: tuple[str, ...]) -> str:
        """Return the line that describes a group, or the program."""
        return GROUPS.get(group[0], f"Commands of {group[0]}.") if group else _ROOT


def _summary(point: EntryPoint) -> str:
    """Return the first paragraph of a command's docstring.

    It is read from the source: importing every command takes seconds, most of them for PyTorch.
    """
    try:
        spec = find_spec(point.module)
    except ImportError:
        spec = None
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return "Not installed."
    tree = ast.parse(spec.loader.get_source(point.module) or "")
    found = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == point.attr)
    return next(((ast.get_docstring(node) or "").split("\n\n")[0] for node in found), "")


def _stand_in(summary: str) -> Any:
    """Make a command without options that only shows its summary in an overview."""

    def run(_: object) -> int:
        raise AssertionError("a command that is called is imported, not listed")

    return make_dataclass("Command", [], namespace={"__doc__": summary, "run": run})
