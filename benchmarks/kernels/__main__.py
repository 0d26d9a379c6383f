"""``python -m mimicam.benchmarks.kernels [FILE.json] [--rehearse]``: every kernel on this machine's
GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mimicam.benchmarks.kernels import (
    bench_blur,
    bench_crop_normalize,
    bench_paste_back,
    bench_upsample_blur,
    bench_warp_blend,
    bench_warp_composite,
)
from mimicam.benchmarks.kernels.measure import Case, copy_bandwidth, measure
from mimicam.engine.files import write_atomically
from mimicam.kernels import KernelBuildError

BENCHES = (
    bench_warp_blend,
    bench_crop_normalize,
    bench_paste_back,
    bench_warp_composite,
    bench_upsample_blur,
    bench_blur,
)


def main(arguments: list[str]) -> int:
    """Measure, print, and write JSON where a file is named. 0: all cases ran; 1: one failed; 2: no
    GPU."""
    rehearse = "--rehearse" in arguments
    arguments = [argument for argument in arguments if argument != "--rehearse"]
    if not torch.cuda.is_available() and not rehearse:
        print("no GPU that PyTorch can use: nothing was measured", file=sys.stderr)
        return 2
    out = Path(arguments[0]) if arguments else None

    def keep(results: dict[str, Any]) -> None:
        if out is not None:
            with write_atomically(out) as part:
                part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")

    results = measure_all("cuda" if torch.cuda.is_available() else "cpu", keep)
    rows = [row for op in results["kernels"].values() for row in op]
    return int(any("error" in row for row in rows))


def measure_all(device: str, keep: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
    """Copy bandwidth, and every case of every op; ``keep`` gets what there is after each op."""
    bandwidth = copy_bandwidth()
    name = torch.cuda.get_device_name() if device == "cuda" else "rehearsal on the CPU: figures mean nothing"
    print(f"{name}: copies {bandwidth / 1e9:.0f} GB/s")
    kernels: dict[str, list[dict[str, Any]]] = {}
    results = {"gpu": name, "copy_bytes_per_s": bandwidth, "kernels": kernels}
    for bench in BENCHES:
        op = bench.__name__.rsplit("bench_", 1)[1]
        kernels[op] = []
        for case in bench.cases(device):
            kernels[op].append(_row(case, bandwidth))
            # Flushed, so that a run that is killed shows how far it came.
            print(f"{op} {_line(kernels[op][-1])}", flush=True)
        keep(results)
    return results


def _row(case: Case, bandwidth: float) -> dict[str, Any]:
    """A case's figures, or the error that it alone is lost to."""
    try:
        return measure(case, bandwidth).as_dict()
    except (RuntimeError, ValueError, KernelBuildError) as error:
        return {"name": case.name, "error": f"{type(error).__name__}: {error}"[:500]}


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    return (
        f"{row['name']}: {row['bytes_moved'] / 1e6:.2f} MB, {row['cold_us']:.1f} us (floor {row['floor_us']:.1f},"
        f" {100 * row['share_of_copy_bandwidth']:.0f} %), eager {row['cold_eager_us']:.1f} us; cached"
        f" {row['graph_us']:.1f} and {row['graph_eager_us']:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
