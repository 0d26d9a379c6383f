"""Commands and options under their names of before version 0.2. To be removed with that release."""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = {
    "train-published": "train dpe",
    "train-daegan": "train daegan",
    "write-published": "train name-branches",
    "prepare": "data prepare",
    "pack": "data pack",
    "synthesize": "data render",
    "pack-synthetic": "data pack-rendered",
    "bundle": "models bundle",
}
OPTIONS = {
    "train compact": {
        "--fitted": "--reexpressed",
        "--fitted-share": "--reexpressed-share",
        "--strangers": "--cross-identity",
        "--stranger-weight": "--cross-identity-weight",
    },
}
"""Options by the command, under its new name, that has them."""
_COMPACT = "train compact"


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Replace old names by new ones, and print one line for each."""
    words = _with_new_command(list(arguments))
    options = OPTIONS.get(" ".join(words[:2]), {})
    return [_with_new_option(word, options) for word in words]


def _with_new_command(arguments: list[str]) -> list[str]:
    old = arguments[0] if arguments else ""
    new = COMMANDS.get(old, _COMPACT if _is_old_train(arguments) else None)
    if new is None:
        return arguments
    _note(f"mimicam {old}", f"mimicam {new}")
    return [*new.split(), *arguments[1:]]


def _is_old_train(arguments: list[str]) -> bool:
    """Recognise ``mimicam train --pack ...``, which trained the compact preset."""
    command, first = (*arguments, "", "")[:2]
    return command == "train" and first.startswith("-") and first not in ("-h", "--help")


def _with_new_option(word: str, options: dict[str, str]) -> str:
    name, equals, value = word.partition("=")
    if name not in options:
        return word
    _note(name, options[name])
    return f"{options[name]}{equals}{value}"


def _note(old: str, new: str) -> None:
    print(f"note: '{old}' is now '{new}'; the next release drops the old name", file=sys.stderr)
