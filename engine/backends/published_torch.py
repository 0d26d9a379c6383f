"""DPE's networks in eager PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.backends.published import PublishedModel
from engine.backends.torch_networks import TorchNetworks, needs_torch, torch_device, torch_info
from engine.files import sha256_of

if TYPE_CHECKING:
    from engine.models.folded import FoldedDpe


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
    from engine.models.onnx_form import dpe_specs

    networks = TorchNetworks(folded, dpe_specs(folded.config), torch_device())
    return PublishedModel(networks, torch_info(path.name, sha256_of(path), folded.config.size))
