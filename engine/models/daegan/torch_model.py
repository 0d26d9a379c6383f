"""DAE-GAN in eager PyTorch: the reference, and the backend for CUDA devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.backends.torch import TorchNetworks, needs_torch, torch_device, torch_info
from mimicam.engine.models.daegan.bundle import Weights
from mimicam.engine.models.daegan.model import DaeGanModel

if TYPE_CHECKING:
    from mimicam.engine.models.daegan.inference import DaeGanParts


def load_parts(path: Path) -> DaeGanParts:
    """Load the networks of a file that ``mimicam train daegan`` or ``mimicam models bundle`` wrote.

    Raises:
        EngineError: PyTorch is not installed, or the file is no such model.
    """
    with needs_torch(path):
        from mimicam.engine.models.daegan.inference import DaeGanParts
        from mimicam.engine.models.daegan.weights import load_daegan
    return DaeGanParts(load_daegan(path))


def open_daegan_torch(path: Path) -> DaeGanModel:
    """Open the model on the GPU if PyTorch finds one, else on the CPU.

    ``path``: a file of weights, or a bundle's folder.

    Raises:
        EngineError: see `load_parts`.
    """
    weights = Weights.of(path)
    parts = load_parts(weights.file)
    networks = TorchNetworks(parts, parts.specs, torch_device())
    return DaeGanModel(networks, torch_info(weights.name, weights.sha256, parts.config.size))
