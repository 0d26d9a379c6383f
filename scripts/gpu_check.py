"""Check and measure everything on an NVIDIA GPU: ``python scripts/gpu_check.py --out DIR --minutes 6``.

Versions and clocks, kernel parity, a 45-second training run, kernel benchmarks, frame steps by what runs them, then the
rest as time allows. DIR/gpu_check.json and DIR/gpu_check.md are complete after every part, so a session that is cut off
keeps what it has. Each part is a process of its own with a limit. Needs PyTorch built for CUDA, CuPy, NumPy, onnx,
OpenCV, safetensors, rich, pytest and pytest-timeout; parts that need more name what is missing. docs/gpu.md says more.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mimicam.benchmarks.gpu_parts import Plan, parts
from mimicam.benchmarks.gpu_runner import Choice, run_parts
from mimicam.benchmarks.machine import gpu_state

NAME = "gpu_check.json"


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpu_check.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR")
    add(
        "--minutes",
        type=float,
        default=math.inf,
        help="stop in time: what does not fit is left out, and named",
    )
    add(
        "--pack",
        type=Path,
        metavar="DIR",
        help="pack that gpu_train.py will get; without one drawn noise is trained on",
    )
    add("--rest", action="store_true", help="only what DIR's report lacks or was out of time for")
    add(
        "--only", nargs="+", default=[], metavar="WORD", help="only parts whose names have one of these words"
    )
    add("--skip", nargs="+", default=[], metavar="WORD", help="no parts whose names have one of these words")
    add(
        "--rehearse",
        action="store_true",
        help="on a CPU at toy sizes: shows that all runs; its figures mean nothing",
    )
    add("--list", action="store_true", help="name the parts")
    return parser.parse_args(given)


def _has_gpu() -> bool:
    """By the driver's tool, or where that is not found by PyTorch."""
    if gpu_state() is not None:
        return True
    import torch

    return torch.cuda.is_available()


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """End as Ctrl-C does: the part in work is stopped with all that it started."""
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0: every part passed or is not installed; 1: one failed or was out of time; 2: no GPU."""
    options = _arguments(arguments)
    pack = None if options.pack is None else options.pack.resolve()  # parts run in the checkout's root
    plan = Plan(folder=options.out, pack=pack, rehearse=options.rehearse)
    if options.list:
        print("\n".join(part.name for part in parts(plan)))
        return 0
    if not options.rehearse and not _has_gpu():
        print("no NVIDIA GPU here: nothing was run; --rehearse runs toy sizes on the CPU", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _end)
    choice = Choice(
        minutes=options.minutes, only=tuple(options.only), rest=options.rest, skip=tuple(options.skip)
    )  # fmt: skip
    return run_parts(options.out / NAME, plan, choice)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
