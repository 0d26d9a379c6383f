"""A frame of DPE on a GPU, source cached: how long, by what runs it and by mode, for one session and for several.

What is not in the figures: camera, tracking, sinks; ``mimicam bench`` has those. Random weights take as long as trained
ones. Every figure is of work that was run, none is extrapolated.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.host_gpu import HostGpu
from benchmarks.machine import gpu_memory_mb
from engine.backends.batching import Gather, Ticket
from engine.backends.code_state import CodeState
from engine.backends.cuda_gpu import Gpu, Step
from engine.backends.frame_step import FIRST, Camera, CameraInput, FrameStep, Surface
from engine.backends.gpu_networks import (
    Engine,
    FixedNetwork,
    TorchNetwork,
    copy_all,
    plan_networks,
    torch_networks,
)
from engine.backends.live import Canvas, CodeEdit
from engine.backends.model import Features
from engine.backends.plan_cache import PlanCache
from engine.backends.slots import SlotRequest, SlotStep
from engine.backends.tensorrt_api import find
from engine.models.folded import FoldedDpe
from engine.models.mixed_parts import Form
from engine.types import Mode
from export.networks import load_networks, random_dpe

__all__ = ["HostGpu"]

Networks = Mapping[str, FixedNetwork]
_NETWORK_STAGES = ("encode", "edit", "generate")
_PERIOD_S = 1 / 30
_ENOUGH = 100
"""Frames that a p99 is taken of at least."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured. ``REHEARSAL`` is for a machine without a GPU: it shows that everything runs."""

    preset: str = "published"
    frames: int = 2000
    warm_up: int = 200
    stage_frames: int = 200
    paced_s: float = 4.0
    limit_s: float = 2.5
    """A measurement ends here once it has a hundred frames: eager networks take fifty times as long as a graph."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 48, 64)
    batch_frames: int = 50
    batch_s: float = 2.0
    compiler: str = "inductor"
    camera: Camera = field(default_factory=lambda: Camera(width=1280, height=720))


REHEARSAL = Scale(
    preset="debug", frames=6, warm_up=1, stage_frames=2, paced_s=0.2, batch_s=0.2, batches=(1, 2), batch_frames=3,
    compiler="eager", camera=Camera(width=64, height=48),
)  # fmt: skip

FORMS = {
    "half": Form(),
    "half-fold": Form(fold=True),
    "compile": Form(fused=True),
    "compile-fold": Form(fused=True, fold=True),
}
"""PyTorch in half precision with our kernels: as it is, and through torch.compile."""
EDIT = CodeEdit(fresh=False, seconds=1 / 30, cutoff_hz=4.0, beta=4.0)
"""Of every frame that is measured: smoothed, as live."""
REFERENCE = "eager-fp32"
"""The same networks in PyTorch's own operations: what the others are held against."""
PLANS = ("tensorrt", "tensorrt-plugin", "tensorrt-rtx", "torch-tensorrt")
VARIANTS = (REFERENCE, *FORMS, *PLANS)


def measure_variant(name: str, gpu: Gpu, scale: Scale) -> dict[str, Any]:
    """Every mode's times, its stages, the encoder of a new source, and a session at 30 frames a second.

    Raises:
        EngineError: what it needs is not installed.
    """
    started = time.perf_counter()
    folded = FoldedDpe(random_dpe(scale.preset))
    networks = open_variant(name, folded, gpu, scale)
    report: dict[str, Any] = {
        "variant": name,
        "preset": scale.preset,
        "weights_sha256": _sha256(folded),
        "not_included": "camera, tracking, choice of the box, sinks; 'mimicam bench' has those",
        "open_s": time.perf_counter() - started,
    }
    portrait = _portrait(networks, gpu)
    report["encode_source_ms"] = _gpu_ms(gpu, networks["encoder"].enqueue, scale.stage_frames)
    report["modes"] = {}
    for mode in Mode:
        report["modes"][mode.value] = _measure_mode(
            networks, gpu, mode, portrait, scale, graph=name != REFERENCE
        )
    report["gpu_memory_mb"] = gpu_memory_mb()
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
    if name == REFERENCE:
        return _reference_networks(scale.preset, gpu)
    flavour = "tensorrt-rtx" if name == "tensorrt-rtx" else "tensorrt"
    api = find(flavour)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        if name == "torch-tensorrt":
            from export.cli import Export

            Export(
                model=f"random:{scale.preset}", out=Path(folder), target="torch-tensorrt", precision="fp16"
            ).run()
        else:
            from export.bundle import (  # needs OpenVINO, which a bare machine lacks
                BundleOptions,
                write_bundle,
            )

            warp = "plugin" if name == "tensorrt-plugin" else "gridsample"
            write_bundle(
                f"random:{scale.preset}", Path(folder), BundleOptions(precision="fp16", warp=warp), print
            )
        return plan_networks(Path(folder), api, gpu, PlanCache())


def measure_sessions(name: str, gpu: Gpu, scale: Scale) -> dict[str, Any]:
    """How many sessions of 30 frames a second one GPU holds: batches of growing size, run at that pace.

    A size counts when the 99th percentile of a frame's age at the end of its batch, waiting included, is under the
    period; frames arrive at phases spread over it.
    """
    folded, rows, holds = FoldedDpe(random_dpe(scale.preset)), [], 0
    for batch in scale.batches:
        networks = open_variant(name, folded, gpu, scale, batch=batch)
        step = SlotStep(networks, gpu, modes=(Mode.EXP,))
        features = _single(_portrait(networks, gpu))
        crop = np.full((step.size, step.size, 3), 128, np.uint8)
        request = SlotRequest(crop=crop, features=features, mode=Mode.EXP, edit=EDIT)
        requests = dict.fromkeys(range(batch), request)
        full = host_ms(lambda s=step, r=requests: s(r), scale.batch_frames, 3)  # type: ignore[misc]
        paced = _paced_batches(step, requests, scale)
        rows.append({"sessions": batch, "full_batch_ms": full, "age_ms": paced})
        if paced["p99"] >= 1e3 * _PERIOD_S:
            break
        holds = batch
    return {"variant": name, "preset": scale.preset, "holds_sessions_at_30_fps": holds, "batches": rows}


def _measure_mode(
    networks: Networks, gpu: Gpu, mode: Mode, portrait: Features, scale: Scale, *, graph: bool
) -> dict[str, Any]:
    started = time.perf_counter()
    codes = CodeState(gpu, 1, int(networks["pose_generator"].inputs["latent"].shape[1]))
    surface = Surface(gpu, _canvas(networks, scale))
    camera = CameraInput(gpu, scale.camera, networks["motion_encoder"])
    step = FrameStep(networks, gpu, mode=mode, camera=camera, codes=codes, surface=surface, graph=graph)
    captured_s = time.perf_counter() - started
    _enter(networks, gpu, mode, codes, portrait)
    frame = np.random.default_rng(0).integers(0, 256, scale.camera.shape[1:], np.uint8)
    matrix = np.array([[1, 0, 5], [0, 1, 5]], np.float32)
    networks_only = _chained(step)

    def with_source() -> None:
        networks["encoder"].enqueue()
        networks_only()

    def host(work: Callable[[], None]) -> dict[str, float]:
        start = Step(gpu, work) if graph else _queued(gpu, work)
        return host_ms(lambda: start()(), scale.frames, scale.warm_up, scale.limit_s)

    frame_ms = lambda: step(frame, EDIT, matrix)()  # noqa: E731
    found = {
        "graph": graph,
        "capture_s": captured_s,
        "networks_host_ms": host(networks_only),
        "networks_gpu_ms": _gpu_ms(gpu, networks_only, scale.stage_frames, graph=graph),
        "uncached_networks_host_ms": host(with_source),
        "step_host_ms": host_ms(step.repeat, scale.frames, scale.warm_up, scale.limit_s),
        "frame_host_ms": host_ms(frame_ms, scale.frames, scale.warm_up, scale.limit_s),
        "paced_frame_host_ms": paced(frame_ms, scale.paced_s),
    }
    stages = step.stages.items()
    on_gpu = {stage: _gpu_ms(gpu, work, scale.stage_frames, graph=graph) for stage, work in stages}
    on_host = {
        stage: host_ms(_queued_now(gpu, work), scale.stage_frames, 3, scale.limit_s) for stage, work in stages
    }
    return found | {"stages_gpu_ms": on_gpu, "stages_host_ms": on_host}


def _queued_now(gpu: Gpu, work: Callable[[], None]) -> Callable[[], object]:
    """What the host spends on a stage without a graph, the wait for the GPU included."""
    start = _queued(gpu, work)
    return lambda: start()()


def _enter(networks: Networks, gpu: Gpu, mode: Mode, codes: CodeState, portrait: Features) -> None:
    """What a session does once: the portrait's codes, and its maps into the generator that reads them first."""
    codes.enter(0, portrait)
    own = list(networks[f"{FIRST[mode]}_generator"].inputs.values())[1:]
    maps = [torch.from_numpy(array) for array in portrait.arrays[3:]]
    copy_all(gpu, list(zip(own, maps, strict=True)))
    gpu.mark()()


def _chained(step: FrameStep) -> Callable[[], None]:
    """Encode, edit, generate: what the field's figures call a frame."""

    def work() -> None:
        for stage in _NETWORK_STAGES:
            step.stages[stage]()

    return work


def _queued(gpu: Gpu, work: Callable[[], None]) -> Callable[[], Callable[[], None]]:
    def start() -> Callable[[], None]:
        gpu.queue(work)
        return gpu.mark()

    return start


def _reference_networks(preset: str, gpu: Gpu) -> Networks:
    return {
        n.name: TorchNetwork(n.module, n.inputs, n.outputs, gpu) for n in load_networks(f"random:{preset}")
    }


def _portrait(networks: Networks, gpu: Gpu) -> Features:
    """What the encoder makes of some picture: every variant enters its own maps."""
    encoder = networks["encoder"]
    gpu.queue(lambda: encoder.inputs["image"].uniform_(-1, 1))  # type: ignore[arg-type]
    gpu.queue(encoder.enqueue)
    gpu.mark()()
    arrays = tuple(v.to("cpu", torch.float32, copy=True).numpy() for v in encoder.outputs.values())
    return Features(arrays=arrays, model="random")


def _single(features: Features) -> Features:
    return Features(arrays=tuple(array[:1] for array in features.arrays), model=features.model)


def _canvas(networks: Networks, scale: Scale) -> Canvas:
    return canvas_of(int(networks["motion_encoder"].inputs["image"].shape[-1]), scale)


def canvas_of(size: int, scale: Scale) -> Canvas:
    ramp = np.sin(np.linspace(0, np.pi, size, dtype=np.float32)).clip(0)
    factor = 2 * size / scale.camera.height
    return Canvas(
        picture=np.full((scale.camera.height, scale.camera.width, 3), 90, np.uint8),
        mask=np.outer(ramp, ramp),
        crop_from_image=np.array([[factor, 0, -size / 2], [0, factor, -size / 2]], np.float32),
    )


def paced(run: Callable[[], object], seconds: float) -> dict[str, float]:
    """At 30 frames a second, as a camera gives them: between frames the GPU's clocks may fall."""
    times, due, end = [], time.perf_counter(), time.perf_counter() + seconds
    while due < end:
        time.sleep(max(due - time.perf_counter(), 0))
        before = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - before))
        due += _PERIOD_S
    return _percentiles(times)


def _paced_batches(step: SlotStep, requests: Mapping[int, SlotRequest], scale: Scale) -> dict[str, float]:
    """Ages of frames that sessions send at 30 a second each, batched as `engine.backends.batching` batches them."""
    gather: Gather[SlotRequest, None] = Gather(most=len(requests), wait_ns=5_000_000)
    start = time.perf_counter_ns()
    ages: list[float] = []
    for due_ns, slot in _arrivals(len(requests), scale.batch_s):
        while time.perf_counter_ns() - start < due_ns:
            _run_due(step, gather, start, ages)
        gather.offer(slot, _Timed(requests[slot], start + due_ns), time.perf_counter_ns() - start)
    while gather.due_ns is not None:
        _run_due(step, gather, start, ages)
    return _percentiles(ages)


class _Timed(Ticket[SlotRequest, None]):
    def __init__(self, request: SlotRequest, sent_ns: int) -> None:
        super().__init__(request)
        self.sent_ns = sent_ns


def _run_due(step: SlotStep, gather: Gather[SlotRequest, None], start: int, ages: list[float]) -> None:
    batch = gather.take(time.perf_counter_ns() - start)
    if not batch:
        return
    step({slot: ticket.item for slot, ticket in batch.items()})
    now = time.perf_counter_ns()
    ages.extend((now - ticket.sent_ns) / 1e6 for ticket in batch.values() if isinstance(ticket, _Timed))


def _arrivals(sessions: int, seconds: float) -> Iterator[tuple[int, int]]:
    """(time in ns, slot), in order; phases spread evenly."""
    period = round(1e9 * _PERIOD_S)
    for index in range(int(seconds / _PERIOD_S) * sessions):
        yield index * period // sessions, index % sessions


def host_ms(run: Callable[[], object], frames: int, warm_up: int, limit_s: float = 60.0) -> dict[str, float]:
    """Milliseconds of so many calls, or of as many as fit into the limit."""
    times: list[float] = []
    end = time.perf_counter() + limit_s
    for index in range(frames + warm_up):
        if len(times) >= _ENOUGH and time.perf_counter() > end:
            break
        before = time.perf_counter_ns()
        run()
        if index >= warm_up:
            times.append((time.perf_counter_ns() - before) / 1e6)
    return _percentiles(times)


def _gpu_ms(gpu: Gpu, work: Callable[[], None], frames: int, *, graph: bool = True) -> dict[str, float]:
    """Between two events on the stream; on a machine without a GPU, on the host's clock."""
    start_work = gpu.capture(work) if graph else (lambda: gpu.queue(work))
    if not torch.cuda.is_available():
        return host_ms(lambda: (start_work(), gpu.mark()()), frames, 1)
    times = []
    for index in range(frames + 10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        gpu.queue(start.record)
        start_work()
        gpu.queue(end.record)
        gpu.mark()()
        if index >= 10:
            times.append(start.elapsed_time(end))
    return _percentiles(times)


def _sha256(folded: FoldedDpe) -> str:
    digest = hashlib.sha256()
    for value in folded.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
