"""Split people into training and validation: by person, never by frame."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath

from mimicam.engine.errors import EngineError

VALIDATION = frozenset("P001 P080 P108 P122 P126 P138 P139 P148 P151 P152 P186 P206 P207 P212".split())
"""People who are never trained on, the demo's driver (P186) among them. They are spread over head
motion, expression, sex, age, skin and camera."""

LIVELY = frozenset("V03 V06 V07 V23".split())
"""Drivers with strong expressions, never trained on either, for the lively set of the
evaluation."""


def identity_of(relative: PurePath) -> str:
    """Return the person of ``person/video/clip.mp4`` (VoxCeleb) or ``person.mp4`` (HDTF)."""
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def read_people(path: Path) -> frozenset[str]:
    """Read identities from a text file, one per line; ``#`` begins a comment.

    Raises:
        EngineError: the file is missing or empty.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give a text file with one person per line")
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    people = frozenset(line for line in lines if line)
    if not people:
        raise EngineError(f"{path} names nobody: write one person per line")
    return people


def validation_people(people: set[str], listed: frozenset[str] | None, percent: int) -> frozenset[str]:
    """Return the people who are kept out of training.

    ``listed`` decides if it is given. Otherwise `VALIDATION` and `LIVELY` decide if they name
    anyone, else a hash of the name: so a person stays on the same side when the data grows.

    Raises:
        EngineError: ``listed`` names none of these people.
    """
    if listed is not None:
        if not listed & people:
            raise EngineError("none of the people in the validation list is in this data: check the names")
        return listed & people
    # An own list that names anyone here decides alone: a hash could put its people into training.
    known = (VALIDATION | LIVELY) & people
    return known or frozenset(name for name in people if hashed_percent(name) < percent)


def hashed_percent(name: str) -> int:
    """Hash a name to 0..99, uniformly and equally on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
