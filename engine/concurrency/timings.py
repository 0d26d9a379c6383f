"""Durations of stages, in memory that does not grow however long it runs."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

CAPACITY = 4096
"""Samples a ring keeps: 2.3 minutes at 30 Hz."""
_LEAST_MS, _MOST_MS = 1e-3, 1e6
_STEP = math.log(1.005)
_BINS = math.ceil(math.log(_MOST_MS / _LEAST_MS) / _STEP) + 1


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
        """Share of the samples, 0..1, above a limit; 0 without samples."""
        values = self.values_ms()
        return float((values > limit_ms).mean()) if values.size else 0.0

    def percentiles(self) -> Percentiles | None:
        """None before the first sample."""
        values = self.values_ms()
        if not values.size:
            return None
        p50, p90, p95, p99, top = (float(v) for v in np.percentile(values, (50, 90, 95, 99, 100)))
        return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99, max=top)


class Histogram:
    """Counts all durations since the start or ``clear``, each to within a quarter of a per cent.
    One writer.

    Bins grow by half a per cent, from a microsecond to a quarter of an hour. A night's session
    takes no more memory than its first minute.
    """

    def __init__(self) -> None:
        self._bins: npt.NDArray[np.int64] = np.zeros(_BINS, np.int64)
        self.last_ms = 0.0
        self._max_ms = 0.0
        self.count = 0
        """Number of samples since ``clear``."""

    def add(self, ms: float) -> None:
        """Count one sample, milliseconds."""
        # Equal ratios get equal bins: the error is relative, 0.25 per cent at every duration.
        # Clock steps may give 0 or less, of which there is no logarithm.
        bounded = min(max(ms, _LEAST_MS), _MOST_MS)
        self._bins[round(math.log(bounded / _LEAST_MS) / _STEP)] += 1
        self.count += 1
        self.last_ms, self._max_ms = ms, max(self._max_ms, ms)

    def clear(self) -> None:
        """Forget what was seen, as after a warm-up."""
        self._bins[:] = 0
        self.count, self._max_ms = 0, 0.0

    def share_above(self, limit_ms: float) -> float:
        """Return the share of samples above a limit, 0..1; 0 without samples."""
        total = int(self._bins.sum())
        return float(self._bins[_centres_ms() > limit_ms].sum() / total) if total else 0.0

    def percentiles(self) -> Percentiles | None:
        """None before the first sample. The maximum is exact."""
        reached = np.cumsum(self._bins)
        total = int(reached[-1])
        if not total:
            return None
        # The first bin at which the cumulative count reaches the rank.
        ranks = np.ceil(np.array([0.50, 0.90, 0.95, 0.99]) * total)
        values = _centres_ms()[np.searchsorted(reached, ranks)]
        p50, p90, p95, p99 = (min(float(v), self._max_ms) for v in values)
        return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99, max=self._max_ms)


def _centres_ms() -> npt.NDArray[np.float64]:
    centres: npt.NDArray[np.float64] = _LEAST_MS * np.exp(np.arange(_BINS) * _STEP)
    return centres


class Stage:
    """Times a ``with`` block into its histogram. Reused; not re-entrant, one thread at a time."""

    def __init__(self) -> None:
        self.seen = Histogram()
        self._start_ns = 0

    def __enter__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Blocks that raised would count as short ones.
        if kind is None:
            self.seen.add((time.perf_counter_ns() - self._start_ns) / 1e6)


class Timings:
    """One histogram per stage name, made when the name is first used."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()

    def stage(self, name: str) -> Stage:
        """``with timings.stage("track"): ...`` adds one sample to ``track``."""
        found = self._stages.get(name)  # without the lock: entries are never removed
        if found is None:
            with self._lock:
                found = self._stages.setdefault(name, Stage())
        return found

    def of(self, name: str) -> Histogram:
        """Return a stage's histogram; also for durations that are measured elsewhere."""
        return self.stage(name).seen

    def clear(self) -> None:
        """Forget all samples, as after a warm-up. The histograms stay."""
        for stage in list(self._stages.values()):
            stage.seen.clear()

    def last_ms(self) -> dict[str, float]:
        """Stage name to its newest sample."""
        return {name: stage.seen.last_ms for name, stage in list(self._stages.items())}

    def summary(self) -> dict[str, Percentiles]:
        """Stage name to percentiles, in the order of first use; stages without samples are left
        out."""
        rows = ((name, stage.seen.percentiles()) for name, stage in list(self._stages.items()))
        return {name: row for name, row in rows if row is not None}
