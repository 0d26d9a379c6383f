"""Render quadruples into files: into parts, so that a run resumes, and optionally into one npz at
the end.

Every part holds PART quadruples as the arrays of ``quadruple.FIELDS`` with a leading axis. The
finished npz holds them all, plus ``expression_names``, ``seed`` and ``order``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.training.synthetic.quadruple import FIELDS, ORDER, Generator

PART = 25
VERSION = 1
"""Version of the pictures. Raise it when the same seed gives other ones: parts of another version
are refused."""
Arrays = dict[str, npt.NDArray[Any]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Quadruples to render, and where to."""

    count: int
    seed: int
    size_px: int
    folder: Path
    """Folder of the parts."""

    def parts(self) -> Iterator[tuple[Path, range]]:
        """Yield file and quadruple numbers of each part."""
        for start in range(0, self.count, PART):
            yield self.folder / f"part-{start // PART:05d}.npz", range(start, min(start + PART, self.count))

    def stamp(self) -> npt.NDArray[np.int64]:
        """Return version, seed and size: a part with another stamp belongs to another job."""
        return np.array([VERSION, self.seed, self.size_px], np.int64)


def parts_folder(out: Path) -> Path:
    """Return the folder of an output's parts: itself, or beside the npz."""
    return out.with_name(out.name + ".parts") if out.suffix == ".npz" else out


def render_parts(job: Job, make: Callable[[], Generator], progress: Progress) -> int:
    """Render the parts that are missing; return the number of quadruples that were rendered now.

    Raises:
        EngineError: the folder holds parts of another seed, size or version.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    generator: Generator | None = None
    rendered = 0
    for path, numbers in job.parts():
        if not _is_done(path, numbers, job):
            generator = generator or make()
            _write_part(path, job, [generator(job.seed, i) for i in numbers])
            rendered += len(numbers)
        progress(numbers.stop, job.count)
    return rendered


def _is_done(path: Path, numbers: range, job: Job) -> bool:
    if not path.is_file():
        return False
    with np.load(path) as part:
        if not np.array_equal(part["stamp"], job.stamp()):
            raise EngineError(
                f"{path} holds another seed, size or version: choose another --out or delete {path.parent}"
            )
        return len(part["gaze_rad"]) == len(numbers)


def _write_part(path: Path, job: Job, quadruples: list[Any]) -> None:
    """Write a part; it is complete or absent."""
    arrays: dict[str, Any] = {name: np.stack([getattr(q, name) for q in quadruples]) for name in FIELDS}
    with write_atomically(path) as half_done, half_done.open("wb") as file:
        np.savez(file, stamp=job.stamp(), **arrays)


def merge(job: Job, out: Path, constants: Arrays) -> None:
    """Write all parts as one uncompressed npz; memory holds one part at a time."""
    constants = {"seed": np.asarray(job.seed), "order": np.array(ORDER), **constants}
    with (
        write_atomically(out) as half_done,
        zipfile.ZipFile(half_done, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name in FIELDS:
            _stream(archive, name, job)
        for name, value in constants.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(value))
    for path, _ in job.parts():
        path.unlink()
    if not any(job.folder.iterdir()):
        job.folder.rmdir()


def _stream(archive: zipfile.ZipFile, name: str, job: Job) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        for number, (path, _) in enumerate(job.parts()):
            with np.load(path) as part:
                array = part[name]
            if number == 0:
                # An npy header of the whole array, then the parts' bytes one after another.
                header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(file, {**header, "shape": (job.count, *array.shape[1:])})
            file.write(np.ascontiguousarray(array).tobytes())


def is_finished(out: Path, job: Job) -> bool:
    """Tell whether ``out`` already holds this job, by seed, count and size."""
    if not out.is_file():
        return False
    with np.load(out) as done:
        return int(done["seed"]) == job.seed and done["images"].shape[:3] == (job.count, 4, job.size_px)
