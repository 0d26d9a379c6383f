"""Times of GPU work between two events, without the host's part in them."""

from __future__ import annotations

from collections.abc import Callable

import torch

_HEAD_START_CYCLES = 2_000_000
"""GPU cycles, about 1 ms at 2 GHz: the GPU idles in a kernel of its own while the host queues the
timed work.

On an idle stream the start event would be reached before the work is queued. The 10 to 30 us of a
launch would then count as the GPU's.
"""
_WARM_UPS = 3


def event_ms(launch: Callable[[], object], repeats: int, *, warm_ups: int = _WARM_UPS) -> list[float]:
    """GPU milliseconds of each launch on the current stream. Launches that take the host more than
    1 ms count that too."""
    times = []
    for index in range(repeats + warm_ups):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # Before the start event, on the same stream, so its own time is not counted.
        torch.cuda._sleep(_HEAD_START_CYCLES)
        start.record()
        launch()
        end.record()
        end.synchronize()
        if index >= warm_ups:
            times.append(start.elapsed_time(end))
    return times
