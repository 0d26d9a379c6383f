"""Switches of the whole process. The product sets them here and nowhere else."""

from __future__ import annotations

import sys

_ALGORITHMS = 4
"""Algorithms that cuDNN times for each convolution. It lists its guess of the best ones first."""
_SWITCH_S = 0.001
"""Seconds that one thread may keep the interpreter from another. Python's 5 ms add up where several
calls compute: the event loop then waits longer than packets are apart."""


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
