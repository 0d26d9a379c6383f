"""The ``mimicam`` command: parse, run, and map failures to exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import tyro

from mimicam.engine.cli.demo import Demo
from mimicam.engine.cli.devices import Devices
from mimicam.engine.cli.doctor import Doctor
from mimicam.engine.cli.enroll import Enroll
from mimicam.engine.cli.models import MODELS, Models
from mimicam.engine.cli.output import print_whatever_happens
from mimicam.engine.cli.render import Render
from mimicam.engine.cli.run import Run
from mimicam.engine.concurrency.interrupts import end_like_ctrl_c
from mimicam.engine.errors import EngineError, KernelBuildError

DONE, REFUSED, INTERRUPTED = 0, 1, 130
GROUP = "mimicam.commands"
"""Entry points of this group add a command: a frozen dataclass whose ``run`` gives None or an exit code."""
COMMANDS: dict[str, Any] = {
    "run": Run,
    "demo": Demo,
    "render": Render,
    "enroll": Enroll,
    "devices": Devices,
    "doctor": Doctor,
    "models": Models,
}
_DESCRIPTION = "A webcam drives a portrait: expression, head pose, or both, in real time."


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 refused (``error: ...`` on stderr), 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    print_whatever_happens()
    try:
        return _dispatch(arguments)
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:  # the parser's: help, or a wrong option
        return REFUSED if end.code else DONE


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"mimicam {version('mimicam')}")
        return DONE
    if arguments[:1] == ["models"]:
        command = _parse(MODELS, arguments[1:], "mimicam models")
    else:
        command = _parse({**COMMANDS, **_added(arguments)}, arguments, "mimicam")
    end_like_ctrl_c()
    return command.run() or DONE


def _parse(commands: dict[str, Any], arguments: list[str], program: str) -> Any:
    return tyro.extras.subcommand_cli_from_dict(
        commands, args=gather_repeats(arguments), prog=program, description=_DESCRIPTION
    )


def gather_repeats(arguments: list[str], names: tuple[str, ...] = ("--sink", "--portrait")) -> list[str]:
    """``--sink a --sink b`` as ``--sink a b``: of a repeated option the parser keeps only the last."""
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


def _added(arguments: list[str]) -> dict[str, Any]:
    """Commands of other packages: all of them for the overview, otherwise only the one that is meant."""
    found = entry_points(group=GROUP)
    named = [point for point in found if point.name == arguments[0]] if arguments else []
    points = named if arguments and not arguments[0].startswith("-") else found
    return {point.name: _load(point, required=bool(named)) for point in points}


def _load(point: EntryPoint, *, required: bool) -> Any:
    try:
        return point.load()
    except ImportError as error:
        if required:
            raise EngineError(
                f"'mimicam {point.name}' needs a package that is missing ({error}); "
                "run: pip install 'mimicam[torch,train]'"
            ) from error
        return _Unavailable


class _Unavailable:
    """Not installed: pip install 'mimicam[torch,train]'."""

    def run(self) -> int:
        raise AssertionError("a command that is called is loaded for real")
