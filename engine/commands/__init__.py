"""The ``mimicam`` command: parse, run, and map failures to exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import tyro

from mimicam.engine.commands.old_names import with_new_names
from mimicam.engine.commands.output import make_output_safe
from mimicam.engine.commands.registry import Registry
from mimicam.engine.concurrency.interrupts import end_like_ctrl_c
from mimicam.engine.errors import EngineError, KernelBuildError
from mimicam.engine.process_switches import limit_heaps

DONE, REFUSED, INTERRUPTED = 0, 1, 130


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 refused (``error: ...`` on stderr), 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    make_output_safe()
    try:
        return _dispatch(arguments)
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:  # raised by the parser after --help or a wrong option
        return REFUSED if end.code else DONE


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"mimicam {version('mimicam')}")
        return DONE
    command = _parse(with_new_names(arguments))
    end_like_ctrl_c()
    limit_heaps()
    return command.run() or DONE


def _parse(arguments: list[str]) -> Any:
    """Build the command that the arguments name, or print an overview and exit."""
    registry = Registry()
    words = registry.command_words(arguments)
    program, rest = " ".join(["mimicam", *words]), gather_repeats(arguments[len(words) :])
    if registry.is_command(words):
        return tyro.cli(registry.load(words), args=rest, prog=program)
    return tyro.extras.subcommand_cli_from_dict(
        registry.overview(words), args=rest, prog=program, description=registry.description(words)
    )


_REPEATED = ("--sink", "--portrait", "--preset", "--strength", "--inputs")
"""Options that may be given several times."""


def gather_repeats(arguments: list[str], names: tuple[str, ...] = _REPEATED) -> list[str]:
    """Rewrite ``--sink a --sink b`` as ``--sink a b``: the parser keeps only the last of repeated
    options."""
    gathered: dict[str, list[str]] = {name: [] for name in names}
    rest: list[str] = []
    current: list[str] = rest
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in gathered:
            current = gathered[name]
            if value:
                current.append(value)
        else:
            if argument.startswith("-") and argument != "-":
                current = rest
            current.append(argument)
    return rest + [word for name, words in gathered.items() if words for word in (name, *words)]
