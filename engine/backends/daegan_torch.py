"""DAE-GAN in eager PyTorch: the reference, and the way on a CUDA device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.backends.daegan import DaeGanModel
from engine.backends.published_torch import TorchNetworks, needs_torch, torch_facts

if TYPE_CHECKING:
    from engine.models.daegan_parts import DaeGanParts


def load_parts(path: Path) -> DaeGanParts:
    """The networks of a file that ``mimicam train-daegan`` wrote.

    Raises:
        EngineError: PyTorch is not installed, or the file is no such model.
    """
    with needs_torch(path):
        from engine.models.daegan_file import load_daegan
        from engine.models.daegan_parts import DaeGanParts
    return DaeGanParts(load_daegan(path))


def open_daegan_torch(path: Path) -> DaeGanModel:
    """The model on the GPU where PyTorch has one, else on the CPU.

    Raises:
        EngineError: see `load_parts`.
    """
    parts = load_parts(path)
    device, facts = torch_facts(path, parts.config.size)
    return DaeGanModel(TorchNetworks(parts, device), facts)
