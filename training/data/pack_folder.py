"""The files of a pack; `training.data.pack` describes what they hold."""

from __future__ import annotations

from pathlib import Path

from mimicam.engine.errors import EngineError

FRAMES, TRACK, SEGMENTS = "frames.npy", "track.npz", "segments.json"


def pack_files(folder: Path) -> list[Path]:
    """Return the files that packing writes."""
    return [folder / name for name in (FRAMES, TRACK, SEGMENTS)]


def check_pack(folder: Path) -> None:
    """Check that a folder holds a finished pack: the tables are written last.

    Raises:
        EngineError: it does not.
    """
    if not (folder / TRACK).is_file():
        raise EngineError(f"{folder} is not a pack: make one with 'mimicam data pack'")
