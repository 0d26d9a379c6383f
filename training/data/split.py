"""Who is trained on and who is not: by person, never by frame."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath

from mimicam.engine.errors import EngineError

VALIDATION = frozenset("P001 P080 P108 P122 P126 P138 P139 P148 P151 P152 P186 P206 P207 P212".split())
"""Never trained on. Chosen for a spread of head motion and expression, sex, age, skin and camera; the
demo's driver (P186) is among them."""

LIVELY = frozenset("V03 V06 V07 V23".split())
"""Never trained on either: drivers with strong expressions, for the lively set of the evaluation."""


def identity_of(relative: PurePath) -> str:
    """VoxCeleb's ``person/video/clip.mp4`` gives ``person``; HDTF's ``person.mp4`` gives ``person``."""
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def read_people(path: Path) -> frozenset[str]:
    """Identities of a text file, one a line; ``#`` begins a comment.

    Raises:
        EngineError: the file is missing or empty.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give a text file with one person a line")
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    people = frozenset(line for line in lines if line)
    if not people:
        raise EngineError(f"{path} names nobody: write one person a line")
    return people


def validation_people(people: set[str], listed: frozenset[str] | None, percent: int) -> frozenset[str]:
    """Those of ``people`` kept out of training.

    ``listed`` decides where it is given; else `VALIDATION` and `LIVELY`, where they name anyone; else a hash of the name,
    so that a person stays on one side however the data grows.

    Raises:
        EngineError: ``listed`` names nobody of these people.
    """
    if listed is not None:
        if not listed & people:
            raise EngineError("none of the people in the validation list is in this data: check the names")
        return listed & people
    known = (VALIDATION | LIVELY) & people
    return known or frozenset(name for name in people if hashed_percent(name) < percent)


def hashed_percent(name: str) -> int:
    """0..99, spread evenly and the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
