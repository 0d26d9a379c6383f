"""Memory, threads and open files of another process. Linux only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimicam.engine.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSample:
    """One measurement of a process. MB are 2**20 bytes."""

    resident_mb: float
    """Pages in memory (RSS)."""
    proportional_mb: float
    """The same, with shared pages divided among their processes (PSS)."""
    private_mb: float
    """Pages that no other process has (USS): what ends with the process."""
    anonymous_mb: float
    """Memory that it has allocated: resident pages that belong to no file. Pages of libraries are in
    none of its growth, though they count as resident from their first use."""
    threads: int
    files: int
    """Open descriptors, sockets among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSample:
    """A sample and when it was taken."""

    at_s: float
    """Seconds since the first call or the first sample."""
    process: ProcessSample

    def facts(self) -> dict[str, Any]:
        """Return the sample as JSON values."""
        return {"at_s": round(self.at_s, 1), **asdict(self.process)}


def sample_process(pid: int, proc: Path = Path("/proc")) -> ProcessSample:
    """Measure a running process.

    Args:
        pid: its id.
        proc: where the system shows processes.

    Raises:
        EngineError: not on Linux, or the process has ended.
    """
    folder = proc / str(pid)
    try:
        # The kernel's own sum, much faster than adding up the mappings in smaps.
        memory = _kilobytes((folder / "smaps_rollup").read_text())
        threads = len(list((folder / "task").iterdir()))
        files = len(list((folder / "fd").iterdir()))
    except OSError as error:
        raise EngineError(f"process {pid} cannot be measured: it has ended, or this is not Linux") from error
    return ProcessSample(
        resident_mb=_mb(memory["Rss"]),
        proportional_mb=_mb(memory["Pss"]),
        private_mb=_mb(memory["Private_Clean"] + memory["Private_Dirty"]),
        anonymous_mb=_mb(memory["Anonymous"]),
        threads=threads,
        files=files,
    )


def growth(samples: Sequence[TimedSample], start: int) -> dict[str, Any]:
    """Summarise growth from one sample to the last, and to the highest.

    Args:
        samples: in order.
        start: number of the sample from which growth counts.
    """
    after = [asdict(one.process) for one in samples[start:]]
    values = {name: [one[name] for one in after] for name in after[0]}
    return {
        "counted_s": round(samples[-1].at_s - samples[start].at_s, 1),
        "at_start": after[0],
        # Both: the last sample shows what stays, the highest what was needed on the way.
        "growth": {name: round(row[-1] - row[0], 2) for name, row in values.items()},
        "highest_growth": {name: round(max(row) - row[0], 2) for name, row in values.items()},
        "samples": [one.facts() for one in samples],
    }


def _kilobytes(text: str) -> dict[str, int]:
    """Parse lines such as ``Rss:  1234 kB``."""
    rows = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(kilobytes) for name, kilobytes, _ in rows}


def _mb(kilobytes: int) -> float:
    return round(kilobytes / 1024, 2)
