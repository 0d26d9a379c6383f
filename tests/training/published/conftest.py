"""Moving pictures whose expression and pose are known, and networks small enough for a test."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.models.presets import DEBUG, DpeConfig

TINY = DpeConfig(name="tiny", size=32, latent=16, directions=4, channels=(12, 12, 8, 8))


def blob(x: float, mouth: float, size: int = 32) -> Tensor:
    """A disc at ``x`` with a dark bar of height ``mouth`` in it, ``[3, size, size]`` in -1..1."""
    line = torch.linspace(-1, 1, size)
    v, u = torch.meshgrid(line, line, indexing="ij")
    disc = torch.sigmoid(12 * (0.6 - torch.hypot(u - x, v)))
    bar = torch.sigmoid(20 * (mouth - (v - 0.2).abs())) * torch.sigmoid(20 * (0.3 - (u - x).abs()))
    return torch.stack((disc, disc * 0.7, disc * (1 - bar))) * 2 - 1


@pytest.fixture
def tiny() -> DpeConfig:
    return TINY


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two pairs: the driver differs in place and in mouth."""
    source = torch.stack([blob(-0.2, 0.05), blob(0.25, 0.2)])
    target = torch.stack([blob(0.2, 0.25), blob(-0.1, 0.02)])
    return {"source": source, "target": target}


@pytest.fixture
def debug_batch() -> dict[str, Tensor]:
    """The same at the debug preset's size, as bytes."""
    source = torch.stack([blob(-0.2, 0.05, DEBUG.size), blob(0.25, 0.2, DEBUG.size)])
    target = torch.stack([blob(0.2, 0.25, DEBUG.size), blob(-0.1, 0.02, DEBUG.size)])
    return {k: ((v + 1) * 127.5).round().byte() for k, v in (("source", source), ("target", target))}
