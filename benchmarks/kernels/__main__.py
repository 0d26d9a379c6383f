"""``python -m benchmarks.kernels [FILE.json] [--rehearse]``: every kernel on this machine's GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels import (
    bench_crop_normalize,
    bench_layers,
    bench_paste_back,
    bench_upsample_blur,
    bench_warp_blend,
)
from benchmarks.kernels.measure import copy_bandwidth, measure

BENCHES = (bench_warp_blend, bench_crop_normalize, bench_paste_back, bench_layers, bench_upsample_blur)


def main(arguments: list[str]) -> int:
    """Measure, print, and write JSON where a file is named. 2 without a GPU."""
    rehearse = "--rehearse" in arguments
    arguments = [argument for argument in arguments if argument != "--rehearse"]
    if not torch.cuda.is_available() and not rehearse:
        print("no GPU that PyTorch can use: nothing was measured", file=sys.stderr)
        return 2
    results = measure_all("cuda" if torch.cuda.is_available() else "cpu")
    if arguments:
        Path(arguments[0]).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def measure_all(device: str) -> dict[str, Any]:
    """Copy bandwidth, and every case of every op."""
    bandwidth = copy_bandwidth()
    name = torch.cuda.get_device_name() if device == "cuda" else "rehearsal on the CPU: figures mean nothing"
    print(f"{name}: copies {bandwidth / 1e9:.0f} GB/s")
    kernels: dict[str, list[dict[str, Any]]] = {}
    for bench in BENCHES:
        op = bench.__name__.rsplit("bench_", 1)[1]
        kernels[op] = [measure(case, bandwidth).as_dict() for case in bench.cases(device)]
        for row in kernels[op]:
            print(
                f"{op} {row['name']}: {row['bytes_moved'] / 1e6:.2f} MB, {row['cold_us']:.1f} us (floor"
                f" {row['floor_us']:.1f}, {100 * row['share_of_copy_bandwidth']:.0f} %), eager"
                f" {row['cold_eager_us']:.1f} us; in a graph {row['graph_us']:.1f} and {row['graph_eager_us']:.1f}"
            )
    return {"gpu": name, "copy_bytes_per_s": bandwidth, "kernels": kernels}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
