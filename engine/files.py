"""Write files completely or not at all, and never over an input."""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimicam.engine.errors import EngineError

PART_SUFFIX = ".part"
VIDEO_SUFFIXES = frozenset(".avi .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm".split())
"""Suffixes of videos. A GIF is a picture in some places and a video in others."""
_BLOCK = 1 << 20
_unfinished: set[Path] = set()
"""Temporary files of this process. At exit, those that are left belong to threads that hang while
writing."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and its subfolders, sorted. Links to folders are not followed.

    What vanishes meanwhile, or may not be listed, is left out.
    """
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.is_file())


def hash_of_input(path: Path) -> str:
    """Return the SHA-256 of a file that a user named.

    Raises:
        EngineError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): check the path") from error


class Aside:
    """Temporary file beside its destination, for writers that outlive a ``with`` statement.

    Its name is unique, so that two programs with one destination do not share it. It is short, so
    that a destination may use all 255 bytes of a name.
    """

    def __init__(self, path: Path) -> None:
        """Choose the name; nothing is written yet.

        Raises:
            OSError: no file can have the name ``path``: it is a folder, or too long.
        """
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(path))
        self.path = path
        self.part = path.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
        self._before = _identity(path)
        _unfinished.add(self.part)

    def commit(self) -> None:
        """Move the temporary file to its destination."""
        self.part.replace(self.path)
        _unfinished.discard(self.part)

    def commit_beside_others(self) -> Path:
        """Commit, but keep a file that another program put there meanwhile.

        Ours then gets a numbered name.

        Returns:
            The file's path.
        """
        while _identity(self.path) != self._before:
            self.path, self._before = _free_name(self.path), None
        self.commit()
        return self.path

    def discard(self) -> None:
        """Remove the temporary file. Harmless after `commit`."""
        with suppress(OSError):  # on Windows, a thread that hangs keeps it open
            self.part.unlink(missing_ok=True)
        _unfinished.discard(self.part)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path. Move it to ``path`` at the end, or remove it on any other exit.

    Raises:
        EngineError: ``path`` cannot be written.
    """
    try:
        aside = Aside(path)
        try:
            yield aside.part
            aside.commit()
        finally:
            aside.discard()
    except OSError as error:
        raise EngineError(
            f"{path} cannot be written ({error.strerror or error}): check space and permissions, or choose another"
        ) from error


def refuse_to_overwrite_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse an output that is also read: under another spelling, through a link, or in a folder.

    Args:
        outputs: files that will be replaced.
        inputs: files that are read; a folder stands for the files in it, without those of its
            subfolders.

    Raises:
        EngineError: naming the first output that is an input.
    """
    read = [file for path in inputs for file in _files_of(path)]
    for output in outputs:
        for path in read:
            if is_same(output, path):
                subject = "the result" if output == path else str(output)
                raise EngineError(
                    f"{subject} would replace {path}, which is read: choose another name for it"
                )


def is_same(first: Path, second: Path) -> bool:
    """Whether two paths are one file, now or once both are written."""
    try:
        return first.samefile(second)
    except OSError:  # one of them is not there yet
        return _spelled_out(first) == _spelled_out(second)


def _files_of(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if not entry.is_dir()] if path.is_dir() else [path]
    except OSError:
        return []  # reading the folder raises the error later


def _spelled_out(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what distinguishes a file from a later one of the same name; None if there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _free_name(path: Path) -> Path:
    number = 2
    while (other := path.with_name(f"{path.stem[:60]}-{number}{path.suffix}")).exists():
        number += 1
    return other


@atexit.register
def _remove_unfinished() -> None:
    for part in tuple(_unfinished):
        with suppress(OSError):
            part.unlink(missing_ok=True)
