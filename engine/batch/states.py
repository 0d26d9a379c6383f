"""How far the jobs of a batch are, and the units of work that are left."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mimicam.engine.batch.jobs import Row
from mimicam.engine.batch.units import Segment
from mimicam.engine.types import Covered

DONE, FAILED, RUNNING, WAITING = "done", "failed", "running", "waiting"
TRIES = 3
"""Times that a unit may be running when a worker dies, before its job counts as the reason."""
_FIGURES = (
    "frames", "changed", "without_face", "covered", "driver_covered", "segments", "segments_reused", "seconds",
)  # fmt: skip
"""Figures that are kept of a job that an earlier run finished."""


@dataclass(slots=True, kw_only=True)
class JobState:
    """How far a job is."""

    row: Row
    state: str = WAITING
    error: str = ""
    key: str = ""
    segments: list[Segment] = field(default_factory=list)
    left: int = 0
    """Units of the present step that are not finished."""
    reused: int = 0
    """Segments that an earlier run had finished."""
    frames: int = 0
    changed: int = 0
    without_face: int = 0
    covered: Counter[str] = field(default_factory=Counter)
    """Frames in which ``mouth`` or ``eyes`` of the face were covered."""
    driver_covered: Counter[str] = field(default_factory=Counter)
    """The same of the driver's face."""
    seconds: float = 0.0
    """Time that workers spent on it in this run."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Its entry of the run that finished it, if that was an earlier one."""

    def described(self) -> dict[str, Any]:
        """Return the job's entry in the results file."""
        job = self.row.job
        looked = job is None or job.covered is Covered.KEEP
        return {
            "job": self.row.number,
            "state": self.state,
            "error": self.error,
            # A row that is no job shows what its cells hold, so that its author recognises it.
            "source": str(self.row.given.get("source", "") if job is None else job.source),
            "driver": str(self.row.given.get("driver", "") if job is None else job.driver or ""),
            "out": str(self.row.given.get("out", "") if job is None else job.out),
            "key": self.key,
            "frames": self.frames,
            "changed": self.changed,
            "without_face": self.without_face,
            # None, not zero, where nobody looked.
            "covered": dict(self.covered) if looked else None,
            "driver_covered": dict(self.driver_covered) if looked and job and job.driver else None,
            "segments": len(self.segments),
            "segments_reused": self.reused,
            "seconds": round(self.seconds, 1),
            # Last, so that a job that was done before keeps its figures, not the zeros of this run.
            **{name: self.before[name] for name in _FIGURES if name in self.before},
        }


@dataclass(slots=True, kw_only=True, eq=False)
class Unit:
    """One call in a worker."""

    state: JobState
    work: Callable[..., float]
    arguments: tuple[Any, ...]
    after: Callable[[JobState], None]
    """Called when the job's last unit of this step is finished."""
    tries: int = 0


Outcome = Callable[[], float]
"""Returns the seconds that a unit took, or raises what its worker raised."""


class Workers(Protocol):
    """Runs units, several at a time."""

    def model(self) -> str:
        """Return what distinguishes the model that they load: weights and backend."""
        ...

    def run(self, waiting: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Run and remove all units that wait, also those added meanwhile; yield each as it ends."""
        ...

    def stop(self) -> None:
        """Make workers give up what they are at."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...
