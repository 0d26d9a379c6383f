"""Folders of results for tests of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimicam.engine.files import sha256_of
from mimicam.engine.provenance import EDITED
from mimicam.engine.sinks.video_writer import VideoWriter
from tests.videos import grey

FPS = 10


def write_h264(
    path: Path,
    *,
    frames: int = 3,
    level: int = 90,
    comes_from: tuple[Path, ...] = (),
    covered: dict[str, int] | None = None,
) -> Path:
    """Write a video that browsers play; with files that it comes from, as a result of an edit.

    Args:
        path: the file.
        frames: their number.
        level: grey level of the first.
        comes_from: the source, then the drivers.
        covered: frames with covered parts, which its marks state.
    """
    hashes = [sha256_of(each) for each in comes_from]
    marks = replace(EDITED, source=hashes[0], drivers=tuple(hashes[1:]), covered=covered) if hashes else None
    writer = VideoWriter(path, size=(64, 48), fps=FPS, provenance=marks)
    for index in range(frames):
        writer.write(grey(level + index), index / FPS)
    writer.finish()
    return path


def job(number: int, **values: Any) -> dict[str, Any]:
    """Return an entry of a batch's record."""
    entry = {"job": number, "state": "done", "error": "", "source": "", "driver": "", "out": "", "frames": 3,
             "changed": 2, "without_face": 1, "segments": 1, "segments_reused": 0, "seconds": 1.5}  # fmt: skip
    return {**entry, **values}


def write_record(folder: Path, *jobs: dict[str, Any]) -> Path:
    """Write a batch's record into a folder."""
    path = folder / "jobs.results.json"
    path.write_text(json.dumps(jobs))
    return path
