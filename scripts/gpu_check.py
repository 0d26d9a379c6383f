"""Check and measure everything on an NVIDIA GPU:
``python scripts/gpu_check.py --out DIR --minutes 6``.

Versions and clocks, kernel parity, a 45-second training run, kernel benchmarks, frame steps by what
runs them, then the rest as time allows. DIR/gpu_check.json and DIR/gpu_check.md are complete after
every part, so a session that is cut off keeps what it has. Each part is a process of its own with a
limit. Needs PyTorch built for CUDA, CuPy, NumPy, onnx, OpenCV, safetensors, rich, pytest and
pytest-timeout; parts that need more name what is missing. docs/gpu.md says more.
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
        help="time limit; parts that do not fit are left out and named",
    )
    add(
        "--pack",
        type=Path,
        metavar="DIR",
        help="pack that gpu_train.py will use; by default drawn noise",
    )
    add("--rest", action="store_true", help="run only the parts that DIR's report lacks or that timed out")
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="run only parts whose names contain one of these words",
    )
    add(
        "--skip",
        nargs="+",
        default=[],
        metavar="WORD",
        help="skip parts whose names contain one of these words",
    )
    add(
        "--rehearse",
        action="store_true",
        help="run at toy sizes on a CPU, as a test; its figures mean nothing",
    )
    add("--list", action="store_true", help="list the parts")
    return parser.parse_args(given)


def _has_gpu() -> bool:
    """Ask the driver's tool, or PyTorch if the tool is missing."""
    if gpu_state() is not None:
        return True
    import torch

    return torch.cuda.is_available()


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """End as Ctrl-C does: stop the current part and all processes that it started."""
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run the parts; return 0 if every part passed or is not installed, 1 if one failed or timed
    out, 2 without a GPU."""
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
