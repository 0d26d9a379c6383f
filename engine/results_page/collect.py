"""Find the results in a folder: those of batches by their records, others by their marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av

from mimicam.engine.errors import EngineError
from mimicam.engine.files import VIDEO_SUFFIXES, files_below, sha256_of
from mimicam.engine.picture_file import PICTURE_SUFFIXES
from mimicam.engine.provenance import ANIMATED, EDITED, Provenance
from mimicam.engine.verify import read_marks
from mimicam.engine.video_container import main_video, open_container

_PLAYED = VIDEO_SUFFIXES | {".gif"}
"""Suffixes of files with a duration."""
_RECORD = ".results.json"
_SEGMENTS = ".segments"
_RECORD_MAX = 64_000_000
"""Bytes of a batch's record: 100,000 jobs have about 50 MB."""
_LINE_MAX = 500
_BATCH_FIGURES = ("frames", "changed", "without_face", "seconds")
DONE, FAILED = "done", "failed"
_KINDS = {EDITED.note: "edited", ANIMATED.note: "animated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result, or a job that has none."""

    path: Path
    kind: str
    """``batch``, ``edited``, ``animated``, or ``marked`` by something else."""
    state: str = DONE
    """``done``, ``failed``, or what a batch recorded when it was interrupted."""
    error: str = ""
    """One line: why it failed."""
    source: Path | None = None
    drivers: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines for a person: what is missing beside it."""
    figures: dict[str, float] = field(default_factory=dict)
    """``frames``, ``changed``, ``without_face`` and ``seconds`` of a batch; ``duration_s``,
    ``width``, ``height`` and ``bytes`` of a file; of both, the numbers of frames ``mouth_covered``
    and ``eyes_covered``, and ``driver_mouth_covered`` and ``driver_eyes_covered``."""


def collect(folder: Path, inputs: Sequence[Path] = ()) -> list[Result]:
    """Return the results in a folder and its subfolders.

    Args:
        folder: holds results, and records of ``mimicam batch``.
        inputs: folders in which sources and drivers are looked for too. They are found by their
            hashes.

    Raises:
        EngineError: a folder is missing, or holds no results.
    """
    for each in (folder, *inputs):
        if not each.is_dir():
            raise EngineError(f"there is no folder {each}: check the path")
    files = _files(folder)
    jobs = [row for path in files if path.name.endswith(_RECORD) for row in _read_record(path)]
    # Results of a batch carry marks too, and would be listed twice.
    known = {job.path.resolve() for job in jobs}
    library = _Library([*files, *(path for each in inputs for path in _files(each))])
    singles = [
        result
        for path in files
        if _is_media(path) and path.resolve() not in known and (result := _single(path, library)) is not None
    ]
    if not jobs and not singles:
        raise EngineError(
            f"{folder} holds no results of mimicam: give the folder of a batch, or of edited or rendered files"
        )
    return [_measured(result) for result in (*jobs, *singles)]


class _Library:
    """Files that may be sources or drivers, by their hashes. Each is read once, and only if it is
    asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        # An iterator: hashing stops at the file that is asked for, and goes on there the next time.
        self._left = iter(dict.fromkeys(path for path in files if _is_media(path)))
        self._known: dict[str, Path] = {}

    def find(self, sha256: str) -> Path | None:
        """Return the file with this hash; None if there is none."""
        while sha256 not in self._known and (path := next(self._left, None)) is not None:
            try:
                # The first of files with the same content.
                self._known.setdefault(sha256_of(path), path)
            except OSError:
                continue  # it cannot be read, so it cannot be shown either
        return self._known.get(sha256)


def _files(folder: Path) -> list[Path]:
    """List files in order of their names, without hidden ones and without a batch's segments."""
    return [path for path in files_below(folder) if not _is_aside(path.relative_to(folder))]


def _is_aside(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or any(part.endswith(_SEGMENTS) for part in path.parts[:-1])


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in _PLAYED | PICTURE_SUFFIXES


def _single(path: Path, library: _Library) -> Result | None:
    """Return a file that mimicam marked; None for any other."""
    try:
        marks = read_marks(path)
    except EngineError:
        return None  # a file that nothing can show is no result
    if marks is None or not marks.by_mimicam:
        return None
    figures = _covered("", marks.covered) | _covered("driver_", marks.driver_covered)
    result = Result(path=path, kind=_KINDS.get(marks.note, "marked"), figures=figures)
    return _with_inputs(result, marks, library)


def _covered(whose: str, counts: object) -> dict[str, float]:
    """Return the figures of covered parts; none where nobody looked for them."""
    if not isinstance(counts, Mapping):
        return {}
    return {f"{whose}{part}_covered": float(counts.get(part, 0)) for part in ("mouth", "eyes")}


def _with_inputs(result: Result, marks: Provenance, library: _Library) -> Result:
    notes = []
    source = library.find(marks.source) if marks.source else None
    drivers = [library.find(one) for one in marks.drivers]
    if marks.live:
        notes.append(f"the {marks.live} was a live camera")
    elif not marks.source and not marks.drivers:
        notes.append("no hashes of source and driver are recorded in this file")
    missing = ["source"] * (bool(marks.source) and source is None) + ["driver"] * (None in drivers)
    if missing:
        notes.append(f"the {' and the '.join(missing)} is not in this folder: name its folder with --inputs")
    found = tuple(path for path in drivers if path is not None)
    return replace(result, source=source, drivers=found, notes=tuple(notes))


def _read_record(path: Path) -> list[Result]:
    """Read what ``mimicam batch`` recorded.

    Raises:
        EngineError: it is damaged.
    """
    try:
        if path.stat().st_size > _RECORD_MAX:
            raise ValueError("it is too large")
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [_job(row, path.parent) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EngineError(f"{path} is no record of a batch ({error}): move it out of the folder") from error


def _job(row: dict[str, Any], folder: Path) -> Result:
    state = _line(row["state"])
    out, source, driver = (_name(row.get(name, "")) for name in ("out", "source", "driver"))
    figures = {
        name: float(row[name])
        for name in _BATCH_FIGURES
        if state == DONE and isinstance(row.get(name), int | float)
    }
    if state == DONE:
        figures |= _covered("", row.get("covered")) | _covered("driver_", row.get("driver_covered"))
    result = Result(
        path=folder / (out or f"job {int(row['job'])}"),
        kind="batch",
        state=state,
        error=_line(row.get("error", "")),
        source=_there(folder, source),
        drivers=tuple(path for path in (_there(folder, driver),) if path is not None),
        figures=figures,
    )
    gone = [
        f"the {role} {name} is gone"
        for role, name in (("source", source), ("driver", driver))
        if name and _there(folder, name) is None
    ]
    if state == DONE and not result.path.is_file():
        gone.append("the result is gone: run the batch again")
    return replace(result, notes=tuple(gone))


def _there(folder: Path, name: str) -> Path | None:
    path = folder / name
    return path if name and path.is_file() else None


def _name(value: object) -> str:
    """Return a record's path."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("a path is missing")
    return value


def _line(value: object) -> str:
    """Return a record's text as one line."""
    if not isinstance(value, str):
        raise ValueError("a text is missing")
    return " ".join(value.split())[:_LINE_MAX]


def _measured(result: Result) -> Result:
    """Add the figures of the file itself."""
    if not result.path.is_file():
        return result
    figures = dict(result.figures)
    try:
        figures["bytes"] = float(result.path.stat().st_size)
        with open_container(result.path) as container:
            video = main_video(container)
            if video is not None:
                figures |= {"width": float(video.width), "height": float(video.height)}
            if video is not None and video.frames:
                figures.setdefault("frames", float(video.frames))
            if container.duration and result.path.suffix.lower() in _PLAYED:
                figures["duration_s"] = container.duration / 1_000_000
    except (OSError, av.error.FFmpegError, ValueError):
        return replace(result, notes=(*result.notes, "the result cannot be read"))
    return replace(result, figures=figures)
