"""Profile frames by GPU kernel, with PyTorch's profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mimicam.benchmarks.gpu_steps import EDIT, Scale, canvas_of, open_variant, portrait_of
from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.dpe.gpu.mode_graph import CameraInput, ModeGraph, OutputSurface
from mimicam.engine.models.frame_graph import IDENTITY
from mimicam.engine.types import Mode
from mimicam.export.networks import random_dpe

_FRAMES = 20
_TOP = 30


def measure_profile(
    mode: str, gpu: Gpu, scale: Scale, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """The kernels of 20 frames of ``half`` in a mode, queued one by one: no graph hides their
    names."""
    networks = open_variant("half", FoldedDpe(random_dpe(scale.preset)), gpu, scale)
    size = int(networks["motion_encoder"].inputs["image"].shape[-1])
    codes = CodeState(gpu, 1, int(networks["pose_generator"].inputs["latent"].shape[1]))
    codes.enter(0, portrait_of(networks, gpu))
    # Once, outside of what is profiled: upload and edit's numbers do not change from call to call.
    codes.write(0, EDIT, IDENTITY)
    camera = CameraInput(gpu, scale.camera, networks["motion_encoder"])
    surface = OutputSurface(gpu, canvas_of(size, scale))
    step = ModeGraph(
        networks, gpu, mode=Mode(mode), camera=camera, codes=codes, surface=surface, graph=False
    )  # fmt: skip
    frames = min(_FRAMES, scale.stage_frames)
    # The first calls compile kernels and choose algorithms, which no later frame does.
    for _ in range(3):
        step.repeat()
    report = {"variant": "half", "mode": mode, "frames": frames} | profiled(step.repeat, frames)
    keep(report)
    return report


def profiled(work: Callable[[], object], calls: int) -> dict[str, Any]:
    """The 30 kernels that take most GPU time (on a CPU: operators, processor time) and the 30
    operators that take most time on the host, microseconds of one call."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as found:
        for _ in range(calls):
            work()
        # Kernels still queued when the profiler ends would be missing.
        if on_gpu:
            torch.cuda.synchronize()
    averages = found.key_averages()
    rows = _slowest([(row, _own_us(row, on_gpu)) for row in averages], calls)
    # Rows of the device are kernels, which take no time on the host.
    host = [(row, float(row.self_cpu_time_total)) for row in averages if "CUDA" not in str(row.device_type)]
    return {
        "top": rows[:_TOP],
        "host_top": _slowest(host, calls)[:_TOP],
        "host_calls": sum(row.count for row, _ in host) / calls,
        "all_us": sum(row["us"] for row in rows),
        "launches": sum(row["calls"] for row in rows if row["us"] > 0),
    }


def _slowest(measured: list[tuple[Any, float]], calls: int) -> list[dict[str, Any]]:
    rows = [{"name": row.key[:120], "us": us / calls, "calls": row.count / calls} for row, us in measured]
    return sorted(rows, key=lambda row: -row["us"])


def _own_us(row: Any, on_gpu: bool) -> float:
    """Own time of a kernel; of an operator on the host where there is a GPU, nothing: its kernels
    have rows themselves."""
    if not on_gpu:
        return float(row.self_cpu_time_total)
    return float(row.self_device_time_total) if "CUDA" in str(row.device_type) else 0.0
