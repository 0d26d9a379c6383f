"""DPE's networks on one GPU stream: TensorRT plans, or PyTorch in half precision with our
kernels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import CudaGpu, Gpu
from mimicam.engine.backends.cuda.networks import (
    BoundNetwork,
    Engine,
    GpuNetworks,
    TorchNetwork,
    half_info,
    laid_out,
    prepare_kernels,
)
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.backends.tensorrt.api import Progress, TensorRt, find_tensorrt
from mimicam.engine.backends.tensorrt.network import describe_backend, open_network
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.files import sha256_of
from mimicam.engine.models.dpe.gpu.device_reenactor import DeviceReenactor
from mimicam.engine.models.dpe.gpu.frame_graph import DpeFrameGraph, ResidentPortraits
from mimicam.engine.models.dpe.model import NETWORKS, DpeModel
from mimicam.engine.models.dpe.torch_model import load_folded
from mimicam.engine.models.frame_graph import FrameGraph
from mimicam.engine.models.reenactor import Reenactor
from mimicam.engine.process_switches import time_convolutions

if TYPE_CHECKING:
    from mimicam.engine.models.dpe.folded import FoldedDpe
    from mimicam.engine.models.dpe.half_parts import Form


def torch_networks(
    folded: FoldedDpe,
    form: Form,
    gpu: Gpu,
    *,
    engine: Engine = "eager",
    batch: int = 1,
    compiler: str = "inductor",
) -> dict[str, BoundNetwork]:
    """Build all four networks in one form, for ``batch`` pictures at once. Maps lie channels last,
    as tensor cores want them."""
    import torch

    from mimicam.engine.models.dpe.half import MixedDpe
    from mimicam.engine.models.dpe.spec import dpe_specs, example_inputs

    # cuDNN times its algorithms once: shapes never change here.
    time_convolutions()
    # A copy: the given networks stay where they are, while these move to the GPU.
    model = MixedDpe(copy.deepcopy(folded), form)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks: dict[str, BoundNetwork] = {}
    for name, spec in dpe_specs(folded.config).items():
        examples = example_inputs(spec, batch)
        inputs = {each: laid_out(value, form.dtype) for each, value in examples.items()}
        networks[name] = TorchNetwork(
            model.get_submodule(name), inputs, spec.output_names, gpu, engine=engine, compiler=compiler
        )
    return networks


def plan_networks(
    folder: Path,
    api: TensorRt,
    gpu: Gpu,
    cache: PlanCache,
    progress: Progress | None = None,
    *,
    batch: int = 1,
) -> dict[str, BoundNetwork]:
    """Open all networks of an export from their plans, for ``batch`` pictures at once.

    Raises:
        EngineError: see `engine.backends.tensorrt.network.open_network`.
    """
    return {
        name: open_network(folder, name, api=api, gpu=gpu, cache=cache, progress=progress, batch=batch)
        for name in NETWORKS
    }


class GpuDpeModel(DpeModel):
    """See `engine.models.base.ImageDrivenModel`. It draws finished frames where its networks
    run."""

    def __init__(self, networks: GpuNetworks, info: ModelInfo) -> None:
        """``networks`` are of the weights that ``info`` names."""
        super().__init__(networks, info)
        self._gpu_networks = networks
        # The model's, not a session's: a portrait that several sessions show is uploaded once.
        self._portraits = ResidentPortraits(networks.networks["pose_generator"], networks.gpu)

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Reenactor[Any, Any, Any]:
        """See `engine.models.base.LiveModel.reenactor`.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        neutral = None if previous is None else previous.neutral
        return DeviceReenactor(self, self.open_frames(), smooth=smooth, neutral=neutral)

    def open_frames(self) -> FrameGraph:
        """Make the frame graph of one session.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        own = self._gpu_networks
        prepare_kernels(own.gpu)
        return DpeFrameGraph(own.networks, own.gpu, own.inputs, self._portraits)


def open_plans(
    folder: Path,
    *,
    gpu: Gpu | None = None,
    api: TensorRt | None = None,
    cache: PlanCache | None = None,
    progress: Progress | None = None,
) -> DpeModel:
    """Open an exported DPE model on TensorRT. Plans are built first where there are none.

    Raises:
        EngineError: no GPU, no TensorRT, a damaged export, or a plan that is not the reference.
    """
    manifest = export_folder.read_manifest(folder)
    gpu = gpu or CudaGpu()
    api = api or find_tensorrt(gpu)
    networks = plan_networks(folder, api, gpu, cache or PlanCache(), progress)
    info = manifest.info("encoder", describe_backend(api, manifest, gpu))
    return GpuDpeModel(GpuNetworks(networks, gpu), info)


def open_half(path: Path, *, engine: Engine = "eager", gpu: Gpu | None = None) -> DpeModel:
    """Open DPE weights in PyTorch on the GPU, in half precision with our kernels.

    Args:
        path: a file that ``mimicam models import`` wrote.
        engine: see ``Engine``.
        gpu: None is the first one.

    Raises:
        EngineError: no GPU, or no such model.
    """
    from mimicam.engine.models.dpe.half_parts import Form

    folded, gpu = load_folded(path), gpu or CudaGpu()
    form = Form(fused=engine == "compile")
    networks = torch_networks(folded, form, gpu, engine=engine)
    info = half_info(path.name, sha256_of(path), folded.config.size, engine=engine, gpu=gpu)
    return GpuDpeModel(GpuNetworks(networks, gpu), info)
