"""Read the marks that results carry, and compare their hashes with files.

Marks can be removed and forged. A match states that a mark names this very file, not who wrote the
mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from mimicam.engine.errors import EngineError
from mimicam.engine.files import hash_of_input
from mimicam.engine.models.load import model_hash
from mimicam.engine.picture_file import MAX_BYTES
from mimicam.engine.picture_header import PNG
from mimicam.engine.provenance import Provenance, read_tags, read_xmp
from mimicam.engine.video_container import open_container
from mimicam.engine.xmp import xmp_of, xmp_of_boxes

READ = "PNG, JPEG, WebP, BMP, MP4, M4V, MOV, MKV, WebM and AVI"
_CONTAINERS = {"mov", "mp4", "matroska", "webm", "avi"}
"""FFmpeg's names of formats."""
_HEAD = 16
MATCH, DIFFERS, ABSENT = "match", "differs", "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A file whose hash was compared with a result's marks."""

    role: str
    """``source``, ``driver`` or ``model``."""
    given: str
    """The file or model as it was named."""
    sha256: str
    outcome: str
    """``match``, ``differs``, or ``not recorded``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Statements of a file's marks, and their comparison with files."""

    path: Path
    provenance: Provenance | None
    """None: it carries no marks."""
    comparisons: tuple[Comparison, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the marks name mimicam, and all that was compared matches."""
        marked = self.provenance is not None and self.provenance.by_mimicam
        return marked and all(each.outcome == MATCH for each in self.comparisons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A file to compare with, hashed once for all results."""

    role: str
    name: str
    sha256: str


def verify(
    path: Path, *, source: Path | None = None, driver: Path | None = None, model: str | None = None
) -> Verified:
    """Read the marks of a picture or video, and compare their hashes with files.

    Marks are no signature: they can be removed and forged.

    Args:
        path: a result, or any other file of these formats: PNG, JPEG, WebP, MP4, MOV, MKV, WebM,
            AVI.
        source: the edited video, or the portrait's picture.
        driver: the driving video or picture.
        model: as for `load_model`.

    Raises:
        EngineError: a file cannot be read.
    """
    return compare(path, given_files(source=source, driver=driver, model=model))


def given_files(*, source: Path | None, driver: Path | None, model: str | None) -> list[Given]:
    """Hash what results are to be compared with.

    Raises:
        EngineError: a file cannot be read.
    """
    files = [(role, path) for role, path in (("source", source), ("driver", driver)) if path is not None]
    found = [Given(role=role, name=str(path), sha256=hash_of_input(path)) for role, path in files]
    if model is not None:
        found.append(Given(role="model", name=model, sha256=model_hash(model)))
    return found


def compare(path: Path, given: list[Given]) -> Verified:
    """Read the marks of a file and compare them; see `verify`.

    Raises:
        EngineError: the file cannot be read.
    """
    marks = read_marks(path)
    recorded = {
        "source": [marks.source] if marks and marks.source else [],
        "driver": list(marks.drivers) if marks else [],
        "model": [marks.model] if marks and marks.model else [],
    }
    comparisons = tuple(_compared(each, recorded[each.role]) for each in given)
    return Verified(path=path, provenance=marks, comparisons=comparisons)


def read_marks(path: Path) -> Provenance | None:
    """Return the marks of a picture or video; None where it carries none.

    Raises:
        EngineError: it cannot be read, or is neither.
    """
    if not path.is_file():
        raise EngineError(f"there is no file {path}: check the path")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            # BMP has no place for marks.
            if head[:2] == b"BM":
                return None
            if head.startswith((PNG, b"\xff\xd8")) or head[8:12] == b"WEBP":
                return read_xmp(xmp_of(head + file.read(MAX_BYTES)))
            packet = xmp_of_boxes(file) if head[4:8] == b"ftyp" else ""
        marks = read_xmp(packet)
        # Another program may have put its XMP into a file whose comment it kept.
        return marks if marks is not None and marks.by_mimicam else _of_video(path) or marks
    except OSError as error:  # FFmpeg's errors too
        raise EngineError(f"{path} cannot be read ({error.strerror or error}): give one of {READ}") from error


def _of_video(path: Path) -> Provenance | None:
    try:
        container = open_container(path)
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EngineError(f"{path} is no picture or video ({reason}): give one of {READ}") from error
    with container:
        # FFmpeg names a whole group of formats at once: "mov,mp4,m4a,3gp,3g2,mj2".
        if not _CONTAINERS & set(container.format.name.split(",")):
            raise EngineError(f"{path} has a format without marks: give one of {READ}")
        return read_tags(container.metadata)


def _compared(given: Given, recorded: list[str]) -> Comparison:
    outcome = ABSENT if not recorded else MATCH if given.sha256 in recorded else DIFFERS
    return Comparison(role=given.role, given=given.name, sha256=given.sha256, outcome=outcome)
