"""A frame of the compact preset on a GPU: from the tracker's drive to the finished picture."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimicam.benchmarks.gpu_steps import Scale, host_ms, paced
from mimicam.benchmarks.machine import gpu_memory_mb
from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.backends.tensorrt.api import Flavour, find
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR, BundleInfo
from mimicam.engine.models.compact.frame_graph import GpuCompact, compact_networks
from mimicam.engine.models.compact.model import load_compact
from mimicam.engine.models.compact.network import Compact
from mimicam.engine.models.compact.spec import CONDITIONING, CompactConfig, generator_spec
from mimicam.engine.stages.composite import Composite
from mimicam.engine.types import CropBox

_FLAVOURS: dict[str, Flavour] = {"compact-tensorrt": "tensorrt", "compact-tensorrt-rtx": "tensorrt-rtx"}
PLANS = tuple(_FLAVOURS)
REFERENCE = "compact-eager-fp32"
COMPACT = (REFERENCE, "compact-half", "compact-compile", *PLANS)


def measure_compact(
    name: str, gpu: Gpu, scale: Scale, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """The bundled compact model: a drive to its layers, and to the finished picture, as one graph;
    its source's encoder.

    ``keep`` gets what there is after each of the figures. The reference runs without TF32.

    Raises:
        ValueError: there is no such variant.
        EngineError: what it needs is not installed.
    """
    if name not in COMPACT:
        raise ValueError(f"name must be one of {', '.join(COMPACT)}, got {name}")
    started = time.perf_counter()
    model, info = _small_model() if scale.preset == "debug" else load_compact(COMPACT_DIR)
    drawer = _planned(name, gpu) if name in PLANS else _torch(name, model, info, gpu, scale)
    opened_s = time.perf_counter() - started
    crop = np.random.default_rng(0).integers(0, 256, (info.size, info.size, 3), np.uint8)
    features = drawer.encode(crop)
    c = model.config
    conditioning = {
        tensor.name: np.zeros(tensor.shape[1:], np.float32)
        for tensor in generator_spec(c).inputs
        if tensor.name in CONDITIONING
    }
    # With an affine map of zeros, every sample would read one texel, from the cache.
    conditioning |= {"affine": np.eye(2, 3, dtype=np.float32), "head": np.array([0, 0, 0.4], np.float32)}
    mouth = np.zeros((4, c.size, c.size), np.float32)
    size = (scale.camera.width, scale.camera.height)
    whole = CropBox(x_px=40.0, y_px=20.0, size_px=float(info.size))
    # Larger than the crop, whose box is off the corner: the graph then draws surroundings too.
    scene = Composite(np.full((info.size + 60, info.size + 80, 3), 90, np.uint8), whole, size).texture(
        info.size
    )
    live = drawer.open_canvas()
    assert live is not None, "a model on a GPU draws whole frames"
    live.enter(features, scene)
    frames = (scale.frames, scale.warm_up, scale.limit_s)
    times: dict[str, Any] = {}
    report: dict[str, Any] = {
        "variant": name, "preset": "compact", "weights_sha256": info.sha256, "open_s": opened_s,
        "not_included": "camera, tracking, edit, sinks; 'mimicam bench' has those", "modes": {"any": times},
    }  # fmt: skip
    times["networks_host_ms"] = host_ms(lambda: drawer.generate(features, conditioning), *frames)
    keep(report)
    times["frame_host_ms"] = host_ms(lambda: live(conditioning, mouth), *frames)
    keep(report)
    times["paced_frame_host_ms"] = paced(lambda: live(conditioning, mouth), scale.paced_s)
    report["encode_source_ms"] = host_ms(lambda: drawer.encode(crop), scale.stage_frames, 2, scale.limit_s)
    report["gpu_memory_mb"] = gpu_memory_mb()
    return report


def _small_model() -> tuple[Compact, BundleInfo]:
    """A model of 64 pixels for rehearsals. On a CPU, a frame of the bundled one takes half a minute
    in half precision."""
    config = CompactConfig(size=64, latent=16, widths=(8, 8, 16, 16), embed=4)
    info = BundleInfo(name="small", sha256="small", size=config.size, config=config)
    return Compact(config).eval(), info


def _torch(name: str, model: Compact, info: BundleInfo, gpu: Gpu, scale: Scale) -> GpuCompact:
    # TF32 keeps 10 bits of a mantissa, and the reference is float32.
    if name == REFERENCE:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    half, engine = name != REFERENCE, ("compile" if name.endswith("compile") else "eager")
    networks = compact_networks(model, gpu, engine=engine, half=half, compiler=scale.compiler)  # type: ignore[arg-type]
    stated = ModelInfo(name=info.name, sha256=info.sha256, size=info.size, backend=name)
    return GpuCompact(networks, gpu, stated)


def _planned(name: str, gpu: Gpu) -> GpuCompact:
    """Its export and its plans, as ``mimicam export --model compact --precision fp16`` and the
    first start make them."""
    api = find(_FLAVOURS[name])
    from mimicam.engine.models.compact.plans import TensorRtCompact
    from mimicam.export.bundle import (  # needs OpenVINO, which a bare machine lacks
        BundleOptions,
        write_bundle,
    )

    with tempfile.TemporaryDirectory() as folder:
        write_bundle("compact", Path(folder), BundleOptions(precision="fp16"), print)
        return TensorRtCompact(Path(folder), gpu=gpu, api=api)
