"""Measure one part.

python -m mimicam.benchmarks.gpu_part WHAT VARIANT FILE.json [--rehearse]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimicam.benchmarks.gpu_runner import NOT_INSTALLED
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.kernels import KernelBuildError


def measure(what: str, variant: str, out: Path, *, rehearse: bool) -> None:
    """Measure, and rewrite the file after each mode or size, so that a part cut short keeps what it
    has."""
    from mimicam.benchmarks import gpu_compact, gpu_steps
    from mimicam.benchmarks.host_gpu import HostGpu
    from mimicam.benchmarks.machine import gpu_state
    from mimicam.engine.backends.cuda.device import CudaGpu

    # "not available" is what `main` recognises: such a part counts as not installed, not as failed.
    if rehearse and variant in (*gpu_steps.PLANS, *gpu_compact.PLANS):
        raise EngineError(f"{variant} is not available in a rehearsal: plans run on a GPU only")
    gpu = HostGpu() if rehearse else CudaGpu()
    scale = gpu_steps.REHEARSAL if rehearse else gpu_steps.Scale()

    def keep(report: dict[str, Any]) -> None:
        # Clocks with each figure: a card that throttles half-way explains a p99.
        text = json.dumps(report | {"gpu_then": gpu_state()}, indent=2) + "\n"
        with write_atomically(out) as part:
            part.write_text(text, encoding="utf-8")

    keep(_measurer(what)(variant, gpu, scale, keep))


def _measurer(what: str) -> Callable[..., dict[str, Any]]:
    from mimicam.benchmarks import gpu_compact, gpu_live, gpu_profile, gpu_sessions, gpu_steps

    return {
        "steps": gpu_steps.measure_variant,
        "sessions": gpu_sessions.measure_sessions,
        "compact": gpu_compact.measure_compact,
        "live": gpu_live.measure_live,
        "profile": gpu_profile.measure_profile,
    }[what]


def main(arguments: list[str]) -> int:
    """0: measured; 77: something it needs is not installed; 1: anything else."""
    rehearse = "--rehearse" in arguments
    what, variant, out = [argument for argument in arguments if argument != "--rehearse"]
    try:
        measure(what, variant, Path(out), rehearse=rehearse)
    except ModuleNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_INSTALLED
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_INSTALLED if "not available" in str(error) or "takes no plug-ins" in str(error) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
