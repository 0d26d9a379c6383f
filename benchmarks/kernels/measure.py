"""How a kernel is timed on a GPU, and what its time is held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

_REPEATS, _WARM_UPS = 200, 10
_IN_GRAPH = 20
_COPY_BYTES = 1 << 30
_L2_BYTES = 256 << 20  # more than any GPU's second-level cache


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of one op."""

    name: str
    bytes_moved: int
    """What has to be read and written once, at least."""
    kernel: Callable[[], object]
    eager: Callable[[], object]
    """The same result by PyTorch's own operations."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Microseconds, median of 200."""

    name: str
    bytes_moved: int
    floor_us: float
    """``bytes_moved`` at the copy bandwidth measured in the same run."""
    cold_us: float
    """With the second-level cache flushed before each call."""
    cold_eager_us: float
    graph_us: float
    """One call of 20 in a CUDA graph: no launch overhead, the cache as the calls leave it."""
    graph_eager_us: float

    @property
    def share_of_copy_bandwidth(self) -> float:
        """Of the cold time."""
        return self.floor_us / self.cold_us

    def as_dict(self) -> dict[str, Any]:
        """With both ratios."""
        ratios = {
            "share_of_copy_bandwidth": self.share_of_copy_bandwidth,
            "times_faster_cold": self.cold_eager_us / self.cold_us,
            "times_faster_graph": self.graph_eager_us / self.graph_us,
        }
        return asdict(self) | ratios


def measure(case: Case, copy_bytes_per_s: float) -> Timing:
    """Time one case. Without a GPU it is a rehearsal: everything runs twice, and the figures mean nothing."""
    return Timing(
        name=case.name,
        bytes_moved=case.bytes_moved,
        floor_us=1e6 * case.bytes_moved / copy_bytes_per_s,
        cold_us=cold_us(case.kernel),
        cold_eager_us=cold_us(case.eager),
        graph_us=graph_us(case.kernel),
        graph_eager_us=graph_us(case.eager),
    )


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a device-to-device copy of 1 GiB."""
    if not torch.cuda.is_available():
        return 1e9
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / (1e-6 * cold_us(lambda: target.copy_(source)))


def cold_us(work: Callable[[], object]) -> float:
    """Median time between two events around the work, with the cache flushed before the first."""
    if not torch.cuda.is_available():
        return _on_host_us(work)
    flush = torch.empty(_L2_BYTES, dtype=torch.uint8, device="cuda")
    times = []
    for index in range(_REPEATS + _WARM_UPS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.zero_()
        start.record()
        work()
        end.record()
        end.synchronize()
        if index >= _WARM_UPS:
            times.append(1e3 * start.elapsed_time(end))
    return statistics.median(times)


def graph_us(work: Callable[[], object]) -> float:
    """Median time of one of 20 calls in a graph."""
    if not torch.cuda.is_available():
        return _on_host_us(work)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(_IN_GRAPH):
            work()
    return cold_us(graph.replay) / _IN_GRAPH


def _on_host_us(work: Callable[[], object]) -> float:
    work()
    before = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - before)
