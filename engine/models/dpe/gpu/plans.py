"""Start on an export of DPE: with its plans where they are stored, else on OpenVINO while they are
built."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import CudaGpu, Gpu
from mimicam.engine.backends.cuda.networks import prepare_kernels
from mimicam.engine.backends.openvino import open_export
from mimicam.engine.backends.tensorrt.api import TensorRt, find_tensorrt
from mimicam.engine.backends.tensorrt.network import is_built
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.models.base import Model
from mimicam.engine.models.dpe.gpu.networks import open_plans
from mimicam.engine.models.dpe.model import DpeModel
from mimicam.engine.models.hot_swap import HotSwapModel


def start_dpe(
    folder: Path, *, gpu: Gpu | None = None, api: TensorRt | None = None, cache: PlanCache | None = None
) -> Model:
    """An exported published model on TensorRT; OpenVINO draws from the same files while its plans
    are built.

    Raises:
        EngineError: no GPU, no TensorRT, or a damaged export.
    """
    gpu = gpu or CudaGpu()
    prepare_kernels(gpu)  # so that a missing compiler is reported now, not once the plans are built
    api, cache = api or find_tensorrt(gpu), cache or PlanCache()
    plugin = export_folder.read_manifest(folder).warp == "plugin"
    if is_built(folder, api=api, gpu=gpu, cache=cache) or plugin:  # only TensorRT runs the plug-in
        return open_plans(folder, gpu=gpu, api=api, cache=cache)
    waiting = HotSwapModel(
        DpeModel(*open_export(folder, "encoder", None)),
        lambda progress: open_plans(folder, gpu=gpu, api=api, cache=cache, progress=progress),
    )
    return cast("Model", waiting)
