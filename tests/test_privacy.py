"""Privacy: no look-up, no connection, no other program, no file in the home folder."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimicam.engine import silent_imports
from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.commands.registry import COMMANDS, Registry

ROOT = Path(__file__).parents[1]
_SOURCES = ("engine", "kernels", "export", "training", "benchmarks", "scripts", "examples", "tests")
_WATCH = """
import json, os, sys
_SEEN = []
_LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_SENDS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_PROGRAMS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}
# platform.processor and ctypes.util.find_library start these.
_ABOUT_THIS_MACHINE = {"uname", "ldconfig", "gcc", "cc", "ld", "objdump"}
def _watch(event, arguments):
    if event in _LOOK_UPS:
        _SEEN.append(f"{event} {arguments[0]}")
    elif event in _SENDS:
        address = arguments[1] if len(arguments) > 1 else None
        if not isinstance(address, str):  # a path is a socket of this machine
            _SEEN.append(f"{event} {address}")
    elif event in _PROGRAMS and os.path.basename(str((*arguments, "")[0])) not in _ABOUT_THIS_MACHINE:
        _SEEN.append(f"{event} {arguments[:2]}")
sys.addaudithook(_watch)
"""
_COMMAND = """
from mimicam.engine.commands import main
codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
print("\\nWATCHED " + json.dumps([codes, _SEEN]))
"""
_IMPORT = """
import importlib, pkgutil
def _import(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None  # of an extra that is not installed
for top in json.loads(sys.argv[1]):
    for found in pkgutil.walk_packages(_import(top).__path__, top + "."):
        if not found.name.endswith("__main__"):
            _import(found.name)
print("\\nWATCHED " + json.dumps([[], _SEEN]))
"""


def _watched(code: str, argument: object, home: Path) -> tuple[list[int], list[str]]:
    """Return exit codes, and what was sent, looked up or started; the home folder is ``home``."""
    quiet = (
        "CI",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "DISPLAY",
        "WAYLAND_DISPLAY",
    )
    env = {name: value for name, value in os.environ.items() if name not in quiet}
    env |= {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _WATCH + code, json.dumps(argument)],
        cwd=home.parent, env=env, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    line = next((line for line in done.stdout.splitlines() if line.startswith("WATCHED ")), None)
    assert line is not None, done.stderr[-2000:]
    codes, seen = json.loads(line.removeprefix("WATCHED "))
    return codes, seen


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def test_the_help_of_every_command_sends_and_stores_nothing(home: Path) -> None:
    codes, seen = _watched(_COMMAND, [[*words, "--help"] for words in Registry().names], home)
    assert set(codes[: len(COMMANDS)]) == {0}, "the others may need an extra that is not installed"
    assert (seen, _files(home)) == ([], [])


def test_commands_send_and_store_nothing(home: Path) -> None:
    portrait, out = str(bundled_portraits()[0]), home.parent
    commands = [
        ["enroll", portrait, "-o", str(out / "me")],
        ["run", "--source", "pattern", "--seconds", "1", "--portrait", str(out / "me"), "--sink", f"file:{out}/a.mp4"],
        ["edit", f"{out}/a.mp4", "-o", f"{out}/b.mp4", "--preset", "smile=1", "--end", "0.1"],
        ["render", portrait, portrait, "-o", str(out / "a.png")],
        ["verify", f"{out}/a.mp4", "--source", portrait, "--model", "compact"],
        ["verify", f"{out}/b.mp4", "--source", f"{out}/a.mp4", "--model", "compact"],
        ["verify", f"{out}/a.png", "--source", portrait, "--driver", portrait, "--model", "compact"],
        ["report", str(out)],
        ["models", "verify"],
    ]  # fmt: skip
    codes, seen = _watched(_COMMAND, commands, home)
    assert codes == [0] * len(commands)
    assert (seen, _files(home)) == ([], [])


def test_doctor_sends_and_stores_nothing(home: Path) -> None:
    _, seen = _watched(_COMMAND, [["doctor"], ["devices"]], home)
    assert (seen, _files(home)) == ([], [])


def test_importing_every_module_sends_and_stores_nothing(home: Path) -> None:
    _, seen = _watched(
        _IMPORT,
        ["mimicam.engine", "mimicam.kernels", "mimicam.export", "mimicam.training", "mimicam.benchmarks"],
        home,
    )
    assert (seen, _files(home)) == ([], [])


def test_libraries_with_telemetry_are_imported_in_one_place() -> None:
    """The check includes the tests, since they must not report their users either."""
    allowed = Path(str(silent_imports.__file__))
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in _SOURCES
        for path in (ROOT / folder).rglob("*.py")
        if path != allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _imports(node) & {"openvino", "onnxruntime", "ray"} and not _is_part_of_a_silenced_one(node)
    ]
    assert not found, "import these from mimicam.engine.silent_imports"


def _imports(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {str(node.module).split(".")[0]}
    return set()


def _is_part_of_a_silenced_one(node: ast.AST) -> bool:
    """Whether an import takes a part, such as ``quantization`` of onnxruntime.

    A part has no telemetry switch; its caller silences the whole package.
    """
    return isinstance(node, ast.ImportFrom) and node.module in ("onnxruntime", "ray.experimental")


def test_the_watcher_notices_look_ups_connections_and_programs(home: Path) -> None:
    """The watcher must detect each kind of event, or the tests above prove nothing."""
    code = """
import socket, subprocess
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except OSError:
    pass
subprocess.run([sys.executable, "-c", ""])
print("\\nWATCHED " + json.dumps([[], _SEEN]))
"""
    _, seen = _watched(code, [], home)
    kinds = {event.split()[0] for event in seen}
    assert {"socket.getaddrinfo", "socket.connect", "subprocess.Popen"} <= kinds
