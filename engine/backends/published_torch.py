"""The published networks in eager PyTorch: the reference, and the way on a CUDA device without TensorRT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.backends.published import ModelFacts, PublishedModel
from engine.errors import EngineError
from engine.files import sha256_of
from engine.types import Float

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engine.models.folded import FoldedDpe


class TorchNetworks:
    """See `engine.backends.published.Networks`. fp32. The networks are submodules of one module."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module, self._device = module.to(device), device

    def load(self, array: Float) -> torch.Tensor:
        """See `engine.backends.published.Networks.load`."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def fetch(self, value: torch.Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.published.Networks.fetch`."""
        return value.cpu().numpy()

    def run(self, network: str, *inputs: torch.Tensor) -> Sequence[torch.Tensor]:
        """See `engine.backends.published.Networks.run`."""
        import torch

        with torch.inference_mode():
            result = self._module.get_submodule(network)(*inputs)
        return (result,) if isinstance(result, torch.Tensor) else result


@contextmanager
def needs_torch(path: Path) -> Iterator[None]:
    """Around imports that a model's file needs.

    Raises:
        EngineError: PyTorch is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise EngineError(f"running {path.name} needs PyTorch: pip install 'mimicam[torch]'") from error


def load_folded(path: Path) -> FoldedDpe:
    """The weights of a file that ``mimicam models import`` wrote, folded.

    Raises:
        EngineError: PyTorch is not installed, or the file is no such model.
    """
    with needs_torch(path):
        from engine.models.checkpoint import load_published
        from engine.models.folded import FoldedDpe
    return FoldedDpe(load_published(path))


def open_torch(path: Path) -> PublishedModel:
    """The model on the GPU where PyTorch has one, else on the CPU.

    Raises:
        EngineError: see `load_folded`.
    """
    folded = load_folded(path)
    device, facts = torch_facts(path, folded.config.size)
    return PublishedModel(TorchNetworks(folded, device), facts)


def torch_facts(path: Path, size: int) -> tuple[torch.device, ModelFacts]:
    """The device to run on, and what to say of a model of ``size`` pixels there."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = f"torch {torch.__version__} fp32, {device.type}"
    return device, ModelFacts(name=path.name, sha256=sha256_of(path), size=size, backend=backend)
