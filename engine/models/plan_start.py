"""Start on an export: with its plans where they are stored, else on another backend while they are built."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from engine.backends import manifest as manifests
from engine.backends.cuda_gpu import CudaGpu, Gpu
from engine.backends.plan_cache import PlanCache
from engine.backends.tensorrt import is_built
from engine.backends.tensorrt_api import TensorRt, find_tensorrt
from engine.errors import EngineError
from engine.models.base import LiveModel, PictureModel
from engine.models.compact.bundle_facts import COMPACT_DIR
from engine.models.compact.model import open_bundle_openvino
from engine.models.compact.plans import TensorRtCompact
from engine.models.hot_swap import CanvasMeanwhile, PictureMeanwhile


def start_compact(
    folder: Path, *, gpu: Gpu | None = None, api: TensorRt | None = None, cache: PlanCache | None = None
) -> LiveModel:
    """An exported compact model on TensorRT; OpenVINO draws while its plans are built.

    Raises:
        EngineError: no GPU, no TensorRT, or a damaged export; and, where no other backend holds the same weights,
            a plan that is not the reference.
    """
    gpu = gpu or CudaGpu()
    api, cache = api or find_tensorrt(gpu), cache or PlanCache()
    if is_built(folder, api=api, gpu=gpu, cache=cache) or not _is_bundled(folder):
        return TensorRtCompact(folder, gpu=gpu, api=api, cache=cache)
    waiting = CanvasMeanwhile(
        open_bundle_openvino(),
        lambda progress: TensorRtCompact(folder, gpu=gpu, api=api, cache=cache, progress=progress),
    )
    return cast("LiveModel", waiting)  # its backend changes: to mypy, no attribute


def start_dpe(
    folder: Path, *, gpu: Gpu | None = None, api: TensorRt | None = None, cache: PlanCache | None = None
) -> PictureModel:
    """An exported published model on TensorRT; OpenVINO draws from the same files while its plans are built.

    Raises:
        EngineError: see `start_compact`.
    """
    from engine.backends.gpu_networks import prepare_kernels
    from engine.models.dpe.gpu.networks import open_plans
    from engine.models.openvino_exports import open_openvino

    gpu = gpu or CudaGpu()
    prepare_kernels(gpu)  # what is missing shall be known now, not when the plans are there
    api, cache = api or find_tensorrt(gpu), cache or PlanCache()
    plugin = manifests.read_manifest(folder).warp == "plugin"
    if is_built(folder, api=api, gpu=gpu, cache=cache) or plugin:  # only TensorRT runs the plug-in
        return open_plans(folder, gpu=gpu, api=api, cache=cache)
    waiting = PictureMeanwhile(
        open_openvino(folder),
        lambda progress: open_plans(folder, gpu=gpu, api=api, cache=cache, progress=progress),
    )
    return cast("PictureModel", waiting)


def _is_bundled(folder: Path) -> bool:
    """Whether OpenVINO has the same weights: those that came with mimicam."""
    from engine.models.compact.bundle_facts import read_facts

    try:
        return read_facts(COMPACT_DIR).sha256 == manifests.read_manifest(folder).model_sha256
    except EngineError:
        return False
