"""Switches of the whole process. The product sets them here and nowhere else."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

_ALGORITHMS = 4
"""Algorithms that cuDNN times for each convolution. It lists its guess of the best ones first."""
_SWITCH_S = 0.001
"""Seconds that one thread may keep the interpreter from another. Python's 5 ms add up where several
calls compute: the event loop then waits longer than packets are apart."""
_M_ARENA_MAX = -8
"""Number of that parameter of glibc's mallopt (malloc.h)."""
_ARENAS = 1
"""Heaps of glibc. By default it has eight per core, and threads of later calls use further ones."""


def time_convolutions() -> None:
    """Let cuDNN choose each convolution's algorithm by timing a few, for networks whose sizes never
    change.

    cuDNN keeps the choice for each thread, and the thread that draws makes it again. With all
    algorithms that took seconds.
    """
    import torch

    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, _ALGORITHMS


def switch_threads_often() -> None:
    """Let waiting threads run soon, for a process that computes and serves connections."""
    sys.setswitchinterval(_SWITCH_S)


def limit_heaps() -> None:
    """Let glibc use one heap, for a process whose threads come and go. Call it before they start.

    ``malloc_trim`` returns what is free at the end of the first heap only. Other heaps keep up to
    64 MB there. With 16 heaps, 100 MB were added between the first and the fiftieth call, although
    nothing was in use. With four, memory after a call varied by 28 MB, with one by 10 MB. A frame
    takes as much processor time with one as with four (2026-11, compact, two cores).
    """
    if (tune := _of_glibc("mallopt")) is not None:
        tune(_M_ARENA_MAX, _ARENAS)


def keep_what_is_loaded() -> None:
    """Exclude all present objects from garbage collection, so that `return_free_memory` takes
    milliseconds. For a process that has loaded what it needs."""
    gc.collect()
    gc.freeze()


def return_free_memory() -> None:
    """Free what only refers to itself, and give freed memory back to the system.

    Connections refer to themselves, encoders included: 2 MB a call, which Python would collect
    after some fifty calls. glibc keeps what the threads of a call have freed: 45 MB a call, until
    each of its arenas holds as much (2026-11, compact, two cores).
    """
    gc.collect()
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of glibc. None: this process uses another C library."""
    if not sys.platform.startswith("linux"):
        return None
    # musl has neither of our functions, and keeps less.
    return getattr(ctypes.CDLL(None), name, None)
