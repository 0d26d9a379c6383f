"""The library of presets: the bundled ones, and the user's own in their data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.preset import Preset

FOLDER_VARIABLE = "MIMICAM_PRESETS"
_SUFFIX = ".json"
_LARGEST = 65_536
"""Bytes. A preset takes about 1,000."""


class UnknownPresetError(EngineError):
    """No preset has this name."""


def presets_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return the folder of the user's presets; it may not be there yet.

    ``$MIMICAM_PRESETS``, else ``mimicam/presets`` in the data folder: ``$XDG_DATA_HOME`` or
    ``~/.local/share``, ``%APPDATA%`` on Windows, ``~/Library/Application Support`` on macOS.
    """
    if own := environ.get(FOLDER_VARIABLE):
        return Path(own).expanduser()
    if platform == "win32":
        base = environ.get("APPDATA", "")
        fallback = Path("~/AppData/Roaming")
    elif platform == "darwin":
        base, fallback = environ.get("XDG_DATA_HOME", ""), Path("~/Library/Application Support")
    else:
        base, fallback = environ.get("XDG_DATA_HOME", ""), Path("~/.local/share")
    # XDG's specification wants relative paths ignored.
    root = Path(base) if base and Path(base).is_absolute() else fallback.expanduser()
    return root / "mimicam" / "presets"


def preset_names() -> list[str]:
    """List the presets of the library: bundled ones first, then the user's own by name."""
    return [*BUNDLED, *(name for name in _own_names(presets_folder()) if name not in BUNDLED)]


def is_own(name: str) -> bool:
    """Tell a preset in the user's folder from a bundled one."""
    return name in _own_names(presets_folder())


def find_preset(name: str) -> Preset:
    """Return a preset of the library; the user's own comes before a bundled one of its name.

    A file is read once by a process.

    Raises:
        UnknownPresetError: there is none.
        EngineError: its file is damaged.
    """
    return _found(presets_folder(), name)


def load_presets(tell: Callable[[str], None] = lambda _: None) -> tuple[Preset, ...]:
    """Return all presets that can be read; ``tell`` receives a line for each that cannot."""
    found = []
    for name in preset_names():
        try:
            found.append(find_preset(name))
        except EngineError as error:
            tell(str(error))
    return tuple(found)


def save_preset(preset: Preset, *, replace: bool = False) -> Path:
    """Write a preset into the user's folder.

    Raises:
        EngineError: there is one of this name and ``replace`` is not set, or the folder cannot be
            written.
    """
    check_new(preset.name, replace=replace)
    folder = presets_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be made ({error.strerror}): set {FOLDER_VARIABLE} to another folder"
        ) from error
    path = folder / f"{preset.name}{_SUFFIX}"
    with write_atomically(path) as part:
        part.write_text(preset.to_json(), encoding="utf-8")
    # The cache would give the preset as it was before.
    _found.cache_clear()
    return path


def check_new(name: str, *, replace: bool = False) -> None:
    """Check that no preset would be replaced unasked.

    Raises:
        EngineError: one would.
    """
    if name in preset_names() and not replace:
        raise EngineError(
            f"there is a preset '{name}' already: choose another name, or add --force to replace it"
        )


def _own_names(folder: Path) -> list[str]:
    try:
        files = [path for path in folder.iterdir() if path.suffix == _SUFFIX and path.is_file()]
    except OSError:
        return []
    return sorted(path.stem for path in files if not path.name.startswith("."))


@cache
def _found(folder: Path, name: str) -> Preset:
    path = folder / f"{name}{_SUFFIX}"
    if name in _own_names(folder):
        return _read(path, name)
    if name in BUNDLED:
        return BUNDLED[name]
    raise UnknownPresetError(f"there is no preset '{name}': choose one of {', '.join(preset_names())}")


def _read(path: Path, name: str) -> Preset:
    try:
        with path.open(encoding="utf-8") as file:
            # One byte more than allowed tells a larger file without reading all of it.
            text = file.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} cannot be read ({error}): correct it, or remove it") from error
    if len(text) > _LARGEST:
        raise EngineError(f"{path} is too large for a preset: remove it")
    preset = Preset.from_json(text, str(path))
    if preset.name != name:
        raise EngineError(f"{path} holds the preset '{preset.name}': name the file {preset.name}{_SUFFIX}")
    return preset
