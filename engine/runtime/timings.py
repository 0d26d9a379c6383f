"""How long each stage takes, kept in rings that are filled in place."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

CAPACITY = 4096
"""Samples a ring keeps: 2.3 minutes at 30 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Distribution of a duration, milliseconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float]:
        """Field name to value, rounded to a microsecond."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Ring:
    """The newest ``capacity`` durations. One writer; readers take a copy."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._values: npt.NDArray[np.float64] = np.zeros(capacity, np.float64)
        self._count = 0
        self.last_ms = 0.0

    def add(self, ms: float) -> None:
        """Keep one sample; the oldest makes room."""
        self._values[self._count % self._values.size] = ms
        self._count += 1
        self.last_ms = ms

    def clear(self) -> None:
        """Forget what was seen, as after a warm-up."""
        self._count = 0

    @property
    def count(self) -> int:
        """Samples seen since the start or ``clear``."""
        return self._count

    def values_ms(self) -> npt.NDArray[np.float64]:
        """A copy of the samples kept, in no particular order."""
        return self._values[: min(self._count, self._values.size)].copy()

    def share_above(self, limit_ms: float) -> float:
        """Which part of the kept samples, 0..1, is above a limit; 0 when there is none."""
        values = self.values_ms()
        return float((values > limit_ms).mean()) if values.size else 0.0

    def percentiles(self) -> Percentiles | None:
        """None before the first sample."""
        values = self.values_ms()
        if not values.size:
            return None
        p50, p90, p95, p99, top = (float(v) for v in np.percentile(values, (50, 90, 95, 99, 100)))
        return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99, max=top)


class Stage:
    """Times a ``with`` block into its ring. Reused; not re-entrant, one thread at a time."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._start_ns = 0

    def __enter__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.ring.add((time.perf_counter_ns() - self._start_ns) / 1e6)


class Timings:
    """One ring per stage name, made when the name is first used."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()

    def stage(self, name: str) -> Stage:
        """``with timings.stage("track"): ...`` adds one sample to ``track``."""
        found = self._stages.get(name)
        if found is None:
            with self._lock:
                found = self._stages.setdefault(name, Stage(Ring(self._capacity)))
        return found

    def ring(self, name: str) -> Ring:
        """The ring behind a stage, for durations measured elsewhere."""
        return self.stage(name).ring

    def clear(self) -> None:
        """Forget all samples, as after a warm-up. The rings stay."""
        for stage in list(self._stages.values()):
            stage.ring.clear()

    def last_ms(self) -> dict[str, float]:
        """Stage name to its newest sample."""
        return {name: stage.ring.last_ms for name, stage in list(self._stages.items())}

    def summary(self) -> dict[str, Percentiles]:
        """Stage name to percentiles, in the order of first use; stages without samples are left out."""
        rows = ((name, stage.ring.percentiles()) for name, stage in list(self._stages.items()))
        return {name: row for name, row in rows if row is not None}
