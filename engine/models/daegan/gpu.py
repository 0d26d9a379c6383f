"""DAE-GAN's networks on one GPU stream: TensorRT plans, or PyTorch in half precision.

Each network is one captured graph. Crop and composite are those of the CPU path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import CudaGpu, Gpu
from mimicam.engine.backends.cuda.networks import BoundNetwork, Engine, GpuNetworks, TorchNetwork, half_info
from mimicam.engine.backends.tensorrt.api import TensorRt, find_tensorrt
from mimicam.engine.backends.tensorrt.network import describe_backend, open_network
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.models.daegan.bundle import Weights
from mimicam.engine.models.daegan.model import NETWORKS, DaeGanModel
from mimicam.engine.models.daegan.torch_model import load_parts
from mimicam.engine.process_switches import time_convolutions

if TYPE_CHECKING:
    from mimicam.engine.models.daegan.inference import DaeGanParts


class _Mixed(nn.Module):
    """Computes convolutions and products in float16; sampling grids and outputs stay float32.

    PyTorch's autocast makes that choice: a grid of 256 pixels in float16 is wrong by up to 0.06.
    """

    def __init__(self, module: nn.Module, device: str) -> None:
        super().__init__()
        self.module, self._device = module, device

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # No cache of converted weights: it would not survive the capture of a graph.
        with torch.autocast(self._device, torch.float16, cache_enabled=False):
            result = self.module(*inputs)
        results = (result,) if isinstance(result, Tensor) else result
        return tuple(value.float() for value in results)


def torch_networks(
    parts: DaeGanParts, gpu: Gpu, *, engine: Engine = "eager", compiler: str = "inductor"
) -> dict[str, BoundNetwork]:
    """Build all four networks in half precision."""
    # Shapes never change here, so the search for algorithms is made once.
    time_convolutions()
    device = gpu.empty((1,), torch.float32).device.type
    networks: dict[str, BoundNetwork] = {}
    for name, spec in parts.specs.items():
        inputs = {each.name: torch.zeros(each.shape) for each in spec.inputs}
        module = _Mixed(parts.get_submodule(name), device)
        networks[name] = TorchNetwork(
            module, inputs, spec.output_names, gpu, engine=engine, compiler=compiler
        )
    return networks


def open_half(path: Path, *, engine: Engine = "eager", gpu: Gpu | None = None) -> DaeGanModel:
    """Open weights in PyTorch on the GPU, in half precision.

    Args:
        path: a file of weights, or a bundle's folder.
        engine: see ``Engine``.
        gpu: None is the first one.

    Raises:
        EngineError: no GPU, or no such model.
    """
    weights, gpu = Weights.of(path), gpu or CudaGpu()
    parts = load_parts(weights.file)
    info = half_info(weights.name, weights.sha256, parts.config.size, engine=engine, gpu=gpu)
    return DaeGanModel(GpuNetworks(torch_networks(parts, gpu, engine=engine), gpu), info)


def open_plans(
    folder: Path, *, gpu: Gpu | None = None, api: TensorRt | None = None, cache: PlanCache | None = None
) -> DaeGanModel:
    """Open an exported model on TensorRT. Plans are built first where there are none.

    Raises:
        EngineError: no GPU, no TensorRT, a damaged export, or a plan that is not the reference.
    """
    manifest = export_folder.read_manifest(folder)
    gpu = gpu or CudaGpu()
    api, cache = api or find_tensorrt(gpu), cache or PlanCache()
    networks: dict[str, BoundNetwork] = {
        name: open_network(folder, name, api=api, gpu=gpu, cache=cache) for name in NETWORKS
    }
    info = manifest.info("pose_encoder", describe_backend(api, manifest, gpu))
    return DaeGanModel(GpuNetworks(networks, gpu), info)
