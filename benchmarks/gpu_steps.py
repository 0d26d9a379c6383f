"""A frame of DPE on a GPU, source cached: how long, by what runs it and by mode.

What is not in the figures: camera, tracking, sinks; ``mimicam bench`` has those. Random weights
take as long as trained ones. Every figure is of work that was run, none is extrapolated.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimicam.benchmarks.gpu_timing import event_ms
from mimicam.benchmarks.machine import gpu_memory_mb
from mimicam.engine.backends.cuda.device import CapturedGraph, Gpu
from mimicam.engine.backends.cuda.networks import BoundNetwork, Engine, TorchNetwork, copy_all
from mimicam.engine.backends.tensorrt.api import Flavour, find
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.models.base import Features
from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.dpe.gpu.mode_graph import FIRST, CameraInput, FrameSize, ModeGraph, OutputSurface
from mimicam.engine.models.dpe.gpu.networks import plan_networks, torch_networks
from mimicam.engine.models.dpe.half_parts import Form
from mimicam.engine.models.dpe.model import portrait_maps
from mimicam.engine.models.frame_graph import CodeUpdate
from mimicam.engine.stages.surroundings import OutputCanvas
from mimicam.engine.types import Mode
from mimicam.export.networks import load_networks, random_dpe

Networks = Mapping[str, BoundNetwork]
_NETWORK_STAGES = ("encode", "edit", "generate")
_LONG_STAGES = ("encode", "generate")
_COPIES = 20
"""Copies of a stage in one graph. A single one of 3 to 10 us would mostly measure the start of its
graph."""
PERIOD_S = 1 / 30
_ENOUGH = 100
"""Frames that a p99 is taken of at least."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Numbers of repetitions and sizes. ``REHEARSAL`` is for a machine without a GPU: it shows that
    everything runs."""

    preset: str = "published"
    frames: int = 800
    warm_up: int = 100
    stage_frames: int = 100
    paced_s: float = 2.0
    limit_s: float = 1.2
    """A measurement ends here once it has a hundred frames: eager networks take fifty times as long
    as a graph."""
    batches: tuple[int, ...] = (1, 4, 16, 32, 64)
    compiled_batches: tuple[int, ...] = (1, 8, 32)
    """A size compiles for a minute."""
    batch_frames: int = 50
    batch_s: float = 2.0
    compiler: str = "inductor"
    camera: FrameSize = field(default_factory=lambda: FrameSize(width=1280, height=720))


REHEARSAL = Scale(
    preset="debug", frames=2, warm_up=1, stage_frames=2, paced_s=0.1, batch_s=0.2, batches=(1, 2),
    compiled_batches=(1, 2), batch_frames=2, compiler="eager", camera=FrameSize(width=64, height=48),
)  # fmt: skip

FORMS = {
    "half": Form(),
    "half-fold": Form(fold=True),
    "compile": Form(fused=True),
    "compile-fold": Form(fused=True, fold=True),
}
"""PyTorch in half precision with our kernels: as it is, and through torch.compile."""
EDIT = CodeUpdate(fresh=False, seconds=1 / 30, cutoff_hz=4.0, beta=4.0)
"""Edit applied to every measured frame: smoothed, as live."""
REFERENCE, EAGER_HALF = "eager-fp32", "eager-half"
"""The same networks in PyTorch's own operations, as a baseline.

``eager-fp32`` is float32 without TF32. ``eager-half`` is autocast to half with channels last and
cuDNN's own choice of algorithms: the fastest that needs no code of ours.
"""
EAGER = (REFERENCE, EAGER_HALF)
_FLAVOURS: dict[str, Flavour] = {
    "tensorrt": "tensorrt", "tensorrt-plugin": "tensorrt", "tensorrt-rtx": "tensorrt-rtx",
    "torch-tensorrt": "tensorrt",
}  # fmt: skip
PLANS = tuple(_FLAVOURS)
VARIANTS = (*EAGER, *FORMS, *PLANS)


def measure_variant(
    name: str, gpu: Gpu, scale: Scale, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Every mode's times, its stages, the encoder of a new source, and a session at 30 frames a
    second.

    ``keep`` gets what there is after each mode.

    Raises:
        EngineError: what it needs is not installed.
    """
    started = time.perf_counter()
    if name in _FLAVOURS:
        find(_FLAVOURS[name])  # before networks are built for nothing
    folded = FoldedDpe(random_dpe(scale.preset))
    networks = open_variant(name, folded, gpu, scale)
    modes: dict[str, Any] = {}
    report: dict[str, Any] = {
        "variant": name,
        "preset": scale.preset,
        "weights_sha256": _sha256(folded),
        "not_included": "camera, tracking, choice of the box, sinks; 'mimicam bench' has those",
        "settings": _settings(),
        "open_s": time.perf_counter() - started,
        "modes": modes,
    }
    portrait = portrait_of(networks, gpu)
    report["encode_source_ms"] = _gpu_ms(gpu, networks["encoder"].enqueue, scale.stage_frames)
    for mode in Mode:
        modes[mode.value] = _measure_mode(networks, gpu, mode, portrait, scale, graph=name not in EAGER)
        report["gpu_memory_mb"] = gpu_memory_mb()
        keep(report)
    return report


def open_variant(name: str, folded: FoldedDpe, gpu: Gpu, scale: Scale, *, batch: int = 1) -> Networks:
    """The four networks, ready.

    Raises:
        EngineError: what it needs is not installed.
    """
    if name in FORMS:
        form: Form = FORMS[name]
        engine: Engine = "compile" if form.fused else "eager"
        return torch_networks(folded, form, gpu, engine=engine, batch=batch, compiler=scale.compiler)
    if name in EAGER:
        return _eager_networks(scale.preset, gpu, half=name == EAGER_HALF)
    api = find(_FLAVOURS[name])
    with tempfile.TemporaryDirectory() as folder:
        if name == "torch-tensorrt":
            from mimicam.export.commands.export import Export

            Export(
                model=f"random:{scale.preset}", out=Path(folder), target="torch-tensorrt", precision="fp16"
            ).run()
        else:
            from mimicam.export.bundle import (  # needs OpenVINO, which a bare machine lacks
                BundleOptions,
                write_bundle,
            )

            warp = "plugin" if name == "tensorrt-plugin" else "gridsample"
            write_bundle(
                f"random:{scale.preset}", Path(folder), BundleOptions(precision="fp16", warp=warp), print
            )
        return plan_networks(Path(folder), api, gpu, PlanCache())


def _measure_mode(
    networks: Networks, gpu: Gpu, mode: Mode, portrait: Features, scale: Scale, *, graph: bool
) -> dict[str, Any]:
    started = time.perf_counter()
    codes = CodeState(gpu, 1, int(networks["pose_generator"].inputs["latent"].shape[1]))
    surface = OutputSurface(gpu, _canvas(networks, scale))
    camera = CameraInput(gpu, scale.camera, networks["motion_encoder"])
    step = ModeGraph(networks, gpu, mode=mode, camera=camera, codes=codes, surface=surface, graph=graph)
    captured_s = time.perf_counter() - started
    _enter(networks, gpu, mode, codes, portrait)
    frame = np.random.default_rng(0).integers(0, 256, scale.camera.shape[1:], np.uint8)
    matrix = np.array([[1, 0, 5], [0, 1, 5]], np.float32)
    networks_only = _chained(step)

    def with_source() -> None:
        networks["encoder"].enqueue()
        networks_only()

    def host(work: Callable[[], None]) -> dict[str, float]:
        start = CapturedGraph(gpu, work) if graph else _queued(gpu, work)
        return host_ms(lambda: start()(), scale.frames, scale.warm_up, scale.limit_s)

    def whole() -> None:
        for stage in step.stages.values():
            stage()

    frame_ms = lambda: step(frame, EDIT, matrix)()  # noqa: E731
    sizes = (scale.frames, scale.warm_up, scale.limit_s)
    found = {
        "graph": graph,
        "capture_s": captured_s,
        "networks_host_ms": host(networks_only),
        "networks_gpu_ms": _gpu_ms(gpu, networks_only, scale.stage_frames, graph=graph),
        "uncached_networks_host_ms": host(with_source),
        "step_host_ms": host_ms(step.repeat, *sizes),
        "step_gpu_ms": _gpu_ms(gpu, whole, scale.stage_frames, graph=graph),
        "step_sleeping_host_ms": host_ms(_sleeping(gpu, whole, graph=graph), *sizes),
        "frame_host_ms": host_ms(frame_ms, *sizes),
        "paced_frame_host_ms": paced(frame_ms, scale.paced_s),
    }
    stages = step.stages.items()
    on_gpu = {
        # Encoder and generators run long enough to be measured one at a time.
        stage: _gpu_ms(
            gpu, work, scale.stage_frames, graph=graph, copies=1 if stage in _LONG_STAGES else _COPIES
        )
        for stage, work in stages
    }
    on_host = {
        stage: host_ms(_queued_now(gpu, work), scale.stage_frames, 3, scale.limit_s) for stage, work in stages
    }
    return found | {"stages_gpu_ms": on_gpu, "stages_host_ms": on_host}


def _sleeping(gpu: Gpu, work: Callable[[], None], *, graph: bool) -> Callable[[], object]:
    """``work``, then a wait in which the host's thread sleeps until the GPU's interrupt; see
    ``CudaGpu.record_event``."""
    start = gpu.capture(work) if graph else (lambda: gpu.on_stream(work))
    if not torch.cuda.is_available():
        return start

    def run() -> None:
        start()
        event = torch.cuda.Event(blocking=True)
        gpu.on_stream(event.record)
        event.synchronize()

    return run


def _queued_now(gpu: Gpu, work: Callable[[], None]) -> Callable[[], object]:
    """Queue a stage without a graph; timed, it is what the host spends, the wait for the GPU
    included."""
    start = _queued(gpu, work)
    return lambda: start()()


def _enter(networks: Networks, gpu: Gpu, mode: Mode, codes: CodeState, portrait: Features) -> None:
    """Do what a session does once: upload the portrait's codes, and its maps into the generator
    that reads them first."""
    codes.enter(0, portrait)
    own = networks[f"{FIRST[mode]}_generator"].inputs
    maps = portrait_maps(portrait).items()
    copy_all(gpu, [(own[name], torch.from_numpy(array)) for name, array in maps])
    gpu.record_event()()


def _chained(step: ModeGraph) -> Callable[[], None]:
    """Encode, edit, generate: what the field's figures call a frame."""

    def work() -> None:
        for stage in _NETWORK_STAGES:
            step.stages[stage]()

    return work


def _queued(gpu: Gpu, work: Callable[[], None]) -> Callable[[], Callable[[], None]]:
    def start() -> Callable[[], None]:
        gpu.on_stream(work)
        return gpu.record_event()

    return start


def _eager_networks(preset: str, gpu: Gpu, *, half: bool) -> Networks:
    # Switches of the whole process, and each variant is a process of its own. The exact baseline
    # has neither the search for algorithms nor TF32.
    torch.backends.cudnn.benchmark = half
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = half
    networks = {}
    for n in load_networks(f"random:{preset}"):
        module = _Autocast(n.module) if half else n.module
        networks[n.name] = TorchNetwork(module, n.inputs, n.outputs, gpu)
    return networks


class _Autocast(torch.nn.Module):
    """A network as PyTorch's own tools make it fast: half precision where autocast allows it,
    channels last."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast(inputs[0].device.type, torch.float16):
            found = self._network(*inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        # Autocast returns half precision; the buffers of the outputs are float32.
        return tuple(value.float() for value in outputs)


def _settings() -> dict[str, bool]:
    """Switches of PyTorch's that decide what "eager" means."""
    cudnn = torch.backends.cudnn
    return {
        "cudnn_benchmark": cudnn.benchmark,
        "tf32_convolutions": cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
    }


def portrait_of(networks: Networks, gpu: Gpu) -> Features:
    """Encode a random picture. Each variant has maps of its own."""
    encoder = networks["encoder"]
    gpu.on_stream(lambda: encoder.inputs["image"].uniform_(-1, 1))  # type: ignore[arg-type]
    gpu.on_stream(encoder.enqueue)
    gpu.record_event()()
    arrays = {n: v.to("cpu", torch.float32, copy=True).numpy() for n, v in encoder.outputs.items()}
    return Features(arrays=arrays, model="random")


def _canvas(networks: Networks, scale: Scale) -> OutputCanvas:
    return canvas_of(int(networks["motion_encoder"].inputs["image"].shape[-1]), scale)


def canvas_of(size: int, scale: Scale) -> OutputCanvas:
    ramp = np.sin(np.linspace(0, np.pi, size, dtype=np.float32)).clip(0)
    factor = 2 * size / scale.camera.height
    return OutputCanvas(
        picture=np.full((scale.camera.height, scale.camera.width, 3), 90, np.uint8),
        mask=np.outer(ramp, ramp),
        crop_from_image=np.array([[factor, 0, -size / 2], [0, factor, -size / 2]], np.float32),
    )


def paced(run: Callable[[], object], seconds: float) -> dict[str, float]:
    """Time calls at 30 frames a second, as a camera delivers them. Between frames the GPU's clocks
    may fall. At least two frames."""
    times: list[float] = []
    due = time.perf_counter()
    end = due + seconds
    while len(times) < 2 or time.perf_counter() < end:
        time.sleep(max(due - time.perf_counter(), 0))
        before = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - before))
        # A stall is not caught up: the schedule goes on from the late frame.
        due = max(due + PERIOD_S, before)
    return percentiles(times)


def host_ms(run: Callable[[], object], frames: int, warm_up: int, limit_s: float = 60.0) -> dict[str, float]:
    """Time ``frames`` calls, milliseconds, or as many as fit into the limit."""
    times: list[float] = []
    end = time.perf_counter() + limit_s
    for index in range(frames + warm_up):
        # A p99 of fewer than a hundred frames is their maximum.
        if len(times) >= _ENOUGH and time.perf_counter() > end:
            break
        before = time.perf_counter_ns()
        run()
        if index >= warm_up:
            times.append((time.perf_counter_ns() - before) / 1e6)
    return percentiles(times)


def _gpu_ms(
    gpu: Gpu, work: Callable[[], None], repeats: int, *, graph: bool = True, copies: int = 1
) -> dict[str, float]:
    """One run of ``work`` on the GPU, between two events; on a machine without a GPU, on the host's
    clock.

    Without a graph the GPU waits for the host between kernels, and those waits are in the figures.
    """

    def several() -> None:
        for _ in range(copies):
            work()

    copies = copies if torch.cuda.is_available() else 1
    start_work = gpu.capture(several) if graph else (lambda: gpu.on_stream(several))
    if not torch.cuda.is_available():
        return host_ms(lambda: (start_work(), gpu.record_event()()), repeats, 1)
    times: list[float] = []
    gpu.on_stream(lambda: times.extend(event_ms(start_work, repeats)))
    return percentiles([ms / copies for ms in times])


def _sha256(folded: FoldedDpe) -> str:
    # Random weights are drawn from a seed: the hash shows that two reports had the same ones.
    digest = hashlib.sha256()
    for value in folded.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
