"""A DAE-GAN of the debug size on disk, with networks that have an effect, and square pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.engine.types import Image
from tests.user_cache import cache, own_cache

__all__ = ["cache", "own_cache"]  # fixtures


@pytest.fixture(scope="session")
def daegan() -> DaeGan:
    """Networks with visible effects.

    Fresh networks do not warp, and their attention is uniform. So warp, attention and
    self-attention get weights.
    """
    torch.manual_seed(0)
    model = DaeGan(DAEGAN_DEBUG).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.face_embedder.head.weight, std=0.1)
        model.generator.attention.strength.fill_(0.5)
        model.generator.head.weight.mul_(3)
    return model


@pytest.fixture(scope="session")
def weights(daegan: DaeGan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("daegan") / "daegan.safetensors"
    save_daegan(daegan, path)
    return path


@pytest.fixture(scope="session")
def aligned() -> tuple[Image, ...]:
    """Six different square pictures of the model's size, in which no face can be found."""
    rng = np.random.default_rng(5)
    side = DAEGAN_DEBUG.size
    small = rng.random((6, 5, 5, 3)).astype(np.float32)
    blobs = torch.from_numpy(small).permute(0, 3, 1, 2)
    soft = torch.nn.functional.interpolate(blobs, size=(side, side), mode="bilinear", align_corners=False)
    return tuple(np.ascontiguousarray(p) for p in (soft * 255).byte().permute(0, 2, 3, 1).numpy())
