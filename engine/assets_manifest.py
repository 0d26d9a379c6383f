"""Bundled files and their integrity: ``assets/manifest.json`` lists each with its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.types import Float, Image

ASSETS = Path(__file__).parent / "assets"
MANIFEST = "manifest.json"
RESPONSES = "portrait_responses.json"
"""Responses of the bundled portraits, written by ``python -m scripts.responses``."""
PORTRAITS = (
    "rosa", "clara", "samir", "mona", "amara", "lily", "kai", "anna", "elijah",
    "zola", "greta", "albrecht", "yuna", "ines", "finn", "astronaut",
)  # fmt: skip
"""Bundled portraits, the best first. The first is the default; keys 1 to 9 select the first
nine."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Manifest entry of one bundled file."""

    file: str
    """Path below ``assets``, with forward slashes."""
    sha256: str
    licence: str
    origin: str


def entries(folder: Path = ASSETS) -> list[Asset]:
    """Return the entries of the manifest.

    Raises:
        EngineError: there is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        return [Asset(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"{path} cannot be read ({error}); reinstall mimicam") from error


def problems(folder: Path = ASSETS) -> list[str]:
    """Return a line for each bundled file that is missing or changed; empty if all are as made."""
    found = []
    for asset in entries(folder):
        path = folder / asset.file
        if not path.is_file():
            found.append(f"{asset.file} is missing")
        elif sha256_of(path) != asset.sha256:
            found.append(f"{asset.file} was changed: its hash is not the one in the manifest")
    return found


def unlisted(folder: Path = ASSETS) -> list[str]:
    """Return files below ``assets`` that the manifest does not list."""
    known = {asset.file for asset in entries(folder)} | {MANIFEST}
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) not in known)


def bundled_portraits(folder: Path = ASSETS) -> list[Path]:
    """Return the bundled portraits, in the order of `PORTRAITS`."""
    return [folder / "portraits" / f"{name}.jpg" for name in PORTRAITS]


def portrait_path(path: Path) -> Path:
    """Return a bundled portrait's file if ``path`` is its name, such as ``mona``.

    A file of that name comes first. Any other path is returned unchanged.
    """
    if path.exists() or str(path) not in PORTRAITS:
        return path
    return bundled_portraits()[PORTRAITS.index(str(path))]


def known_response(picture: Image, model: str) -> Float | None:
    """Return the response of a bundled portrait with the bundled model, measured beforehand.

    None: it is another picture or model, so the response has to be measured.

    Args:
        picture: the whole picture.
        model: SHA-256 of the model's weights.
    """
    known = _known_responses()
    found = known["pictures"].get(pixel_hash(picture)) if known["model"] == model else None
    return None if found is None else np.array(found, np.float32)


def pixel_hash(picture: Image) -> str:
    """Return the SHA-256 of a picture's size and pixels."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


@cache
def _known_responses() -> dict[str, Any]:
    known: dict[str, Any] = json.loads((ASSETS / RESPONSES).read_text(encoding="utf-8"))
    return known


def demo_clip(folder: Path = ASSETS) -> Path:
    """Return the driver's clip of ``make demo``."""
    return folder / "demo" / "driver.mp4"
