"""DPE in eager PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.backends.torch import TorchNetworks, needs_torch, torch_device, torch_info
from mimicam.engine.files import sha256_of
from mimicam.engine.models.dpe.model import DpeModel

if TYPE_CHECKING:
    from mimicam.engine.models.dpe.folded import FoldedDpe


def load_folded(path: Path) -> FoldedDpe:
    """Load and fold the weights of a file that ``mimicam models import`` wrote.

    Raises:
        EngineError: PyTorch is not installed, or the file is no such model.
    """
    with needs_torch(path):
        from mimicam.engine.models.dpe.folded import FoldedDpe
        from mimicam.engine.models.dpe.weights import load_dpe
    return FoldedDpe(load_dpe(path))


def open_torch(path: Path) -> DpeModel:
    """Open the model on the GPU if PyTorch finds one, else on the CPU.

    Raises:
        EngineError: see `load_folded`.
    """
    folded = load_folded(path)
    from mimicam.engine.models.dpe.spec import dpe_specs

    networks = TorchNetworks(folded, dpe_specs(folded.config), torch_device())
    return DpeModel(networks, torch_info(path.name, sha256_of(path), folded.config.size))
