"""Networks in eager PyTorch, in fp32: the reference, and the way on a CUDA device without
TensorRT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.errors import EngineError
from mimicam.engine.network_spec import NetworkSpec, Shapes
from mimicam.engine.types import Float

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchNetworks:
    """See `engine.backends.networks.Networks`."""

    def __init__(self, module: nn.Module, specs: Mapping[str, NetworkSpec], device: torch.device) -> None:
        """``module`` has a submodule for each of ``specs``; it takes inputs in the spec's order,
        and gives outputs so."""
        self._module, self._specs, self._device = module.to(device), specs, device

    def load(self, array: Float) -> torch.Tensor:
        """See `engine.backends.networks.Networks.load`."""
        import torch

        # from_numpy refuses negative strides, which mirrored arrays have.
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def fetch(self, value: torch.Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.fetch`."""
        return value.cpu().numpy()

    def view(self, value: torch.Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.view`."""
        return value.cpu().numpy()

    def output_shapes(self, network: str) -> Shapes:
        """See `engine.backends.networks.Networks.output_shapes`."""
        return {tensor.name: tensor.shape for tensor in self._specs[network].outputs}

    def run(self, network: str, **inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See `engine.backends.networks.Networks.run`."""
        import torch

        spec = self._specs[network]
        # Stronger than no_grad: tensors get no version counters either.
        with torch.inference_mode():
            result = self._module.get_submodule(network)(*spec.in_order(inputs))
        return spec.named_outputs((result,) if isinstance(result, torch.Tensor) else result)


@contextmanager
def needs_torch(path: Path) -> Iterator[None]:
    """Turn a failed import within into an error that names the remedy.

    Raises:
        EngineError: PyTorch is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise EngineError(f"running {path.name} needs PyTorch: pip install 'mimicam[torch]'") from error


def torch_device() -> torch.device:
    """Return the GPU where PyTorch has one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def torch_info(name: str, sha256: str, size: int) -> ModelInfo:
    """Describe a model of ``size`` pixels on `torch_device`."""
    import torch

    backend = f"torch {torch.__version__} fp32, {torch_device().type}"
    return ModelInfo(name=name, sha256=sha256, size=size, backend=backend)
