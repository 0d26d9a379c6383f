"""A DPE model of the debug size on disk, aligned pictures, and the paper's results for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.models.dpe.config import DEBUG
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.weights import build_published, save_dpe
from mimicam.engine.types import Image
from tests.models.conftest import pseudo_state
from tests.models.golden.pseudo_weights import picture
from tests.user_cache import cache, own_cache

__all__ = ["cache", "own_cache"]  # fixtures


@pytest.fixture(scope="session")
def dpe() -> Dpe:
    return build_published(pseudo_state(DEBUG), DEBUG).eval()


@pytest.fixture(scope="session")
def weights(dpe: Dpe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dpe.safetensors"
    save_dpe(dpe, path)
    return path


@pytest.fixture(scope="session")
def aligned() -> tuple[Image, ...]:
    """Eleven different square pictures of the model's size, in which no face can be found."""
    values = np.concatenate([picture(str(tag), DEBUG.size) for tag in range(11)])
    pictures = np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    return tuple(np.ascontiguousarray(p) for p in pictures)


@pytest.fixture(scope="session")
def by_the_paper(dpe: Dpe) -> Callable[[Image, Image, str], Image]:
    """Return `Dpe.edit` as a function of pictures."""

    def edit(source: Image, driving: Image, mode: str) -> Image:
        tensors = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (source, driving)]
        with torch.inference_mode():
            out = dpe.edit(tensors[0], tensors[1], mode)[0]
        grey: Image = ((out.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        return grey

    return edit
