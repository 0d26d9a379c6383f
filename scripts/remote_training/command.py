"""Run a training command on a GPU, and turn what stops it into one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from mimicam.engine.errors import EngineError


def run_on(device: str, train: Callable[[], None]) -> int:
    """Train; return 0 if done, 1 if refused, 2 without a GPU that ``device`` asks for."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("no GPU that PyTorch can use: nothing was run; --rehearse trains on the CPU", file=sys.stderr)
        return 2
    try:
        train()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
