"""Time a kernel on a GPU, and compare its time with the memory's bandwidth."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from mimicam.benchmarks.gpu_timing import event_ms
from mimicam.engine.backends.cuda.device import no_collection

_REPEATS = 30
_IN_GRAPH = 20
_COPY_BYTES = 1 << 30
_COLD_BYTES = 200_000_000
"""Touched between two uses of one buffer: more than any GPU's second-level cache."""
_MOST_SETS = 2000

Side = Literal["kernel", "eager"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of one op."""

    name: str
    bytes_moved: int
    """Bytes that are read and written once, at least."""
    kernel: Callable[[], object]
    eager: Callable[[], object]
    """The same result by PyTorch's own operations."""
    again: Callable[[], Case]
    """The same call on buffers of its own."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Microseconds a call, medians of 30 runs of a CUDA graph of many calls: no launch by the host
    is in them."""

    name: str
    bytes_moved: int
    floor_us: float
    """``bytes_moved`` at the copy bandwidth measured in the same run."""
    cold_us: float
    """Each call of the graph on buffers that the second-level cache no longer holds."""
    cold_eager_us: float
    graph_us: float
    """20 calls on the same buffers: the cache as the calls leave it."""
    graph_eager_us: float

    @property
    def share_of_copy_bandwidth(self) -> float:
        """Floor divided by the cold time."""
        return self.floor_us / self.cold_us

    def as_dict(self) -> dict[str, Any]:
        """Return all values with the three ratios."""
        ratios = {
            "share_of_copy_bandwidth": self.share_of_copy_bandwidth,
            "times_faster_cold": self.cold_eager_us / self.cold_us,
            "times_faster_graph": self.graph_eager_us / self.graph_us,
        }
        return asdict(self) | ratios


def measure(case: Case, copy_bytes_per_s: float) -> Timing:
    """Time one case. Without a GPU it is a rehearsal: everything runs, and the figures mean
    nothing."""
    sets = _sets(case)
    return Timing(
        name=case.name,
        bytes_moved=case.bytes_moved,
        floor_us=1e6 * case.bytes_moved / copy_bytes_per_s,
        cold_us=_graph_us(_calls(sets, "kernel")),
        cold_eager_us=_graph_us(_calls(sets, "eager")),
        graph_us=_graph_us(_calls([case] * _in_graph(), "kernel")),
        graph_eager_us=_graph_us(_calls([case] * _in_graph(), "eager")),
    )


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a device-to-device copy of 1 GiB."""
    if not torch.cuda.is_available():
        return 1e9
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = event_ms(lambda: target.copy_(source), _REPEATS)
    # Read once and written once. 1 GiB is far beyond any cache, so this is the memory's rate.
    return 2 * _COPY_BYTES / (1e-3 * statistics.median(times))


def sets_needed(bytes_moved: int) -> int:
    """Return the number of sets of buffers that evict each other from the cache."""
    # At least two, so that no call writes what the one before has just written. The limit bounds
    # the nodes of a graph for ops of a few bytes.
    return min(max(math.ceil(_COLD_BYTES / bytes_moved), 2), _MOST_SETS)


def _sets(case: Case) -> list[Case]:
    count = sets_needed(case.bytes_moved) if torch.cuda.is_available() else 2
    return [case, *(case.again() for _ in range(count - 1))]


def _in_graph() -> int:
    return _IN_GRAPH if torch.cuda.is_available() else 1


def _calls(sets: Sequence[Case], side: Side) -> list[Callable[[], object]]:
    return [getattr(case, side) for case in sets]


def _graph_us(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of one call of a graph of all of them."""
    if not torch.cuda.is_available():
        return _on_host_us(calls)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())  # where the buffers were filled
    with torch.cuda.stream(stream):
        # Compiles and allocates before the capture, which allows neither.
        for call in calls[:3]:
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with no_collection(), torch.cuda.graph(graph, stream=stream):
        for call in calls:
            call()
    return 1e3 * statistics.median(event_ms(graph.replay, _REPEATS)) / len(calls)


def _on_host_us(calls: Sequence[Callable[[], object]]) -> float:
    before = time.perf_counter()
    for call in calls:
        call()
    return 1e6 * (time.perf_counter() - before) / len(calls)
