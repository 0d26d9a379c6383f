"""Networks that tests share: published and debug size, both with pseudo-random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimicam.engine.models.dpe.config import DEBUG, PUBLISHED, DpeConfig
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.published_names import entries
from mimicam.engine.models.dpe.stylegan2 import blur_kernel
from mimicam.engine.models.dpe.weights import build_published
from tests.models.golden.pseudo_weights import fill, picture

State = dict[str, torch.Tensor]


def pseudo_state(config: DpeConfig) -> State:
    """Return a state dict in the published format, with reproducible values."""
    state = {}
    for entry in entries(config):
        values = fill(entry.name, entry.shape)
        kernel = blur_kernel(entry.kernel_gain or 0.0)[0, 0]
        state[entry.name] = kernel if values is None else torch.from_numpy(values)
    return state


@pytest.fixture(scope="session")
def published() -> Dpe:
    """Networks of the published size, 69 M values; made once."""
    return build_published(pseudo_state(PUBLISHED), PUBLISHED).eval()


@pytest.fixture(scope="session")
def debug() -> Dpe:
    return build_published(pseudo_state(DEBUG), DEBUG).eval()


@pytest.fixture(scope="session")
def debug_pictures() -> torch.Tensor:
    """Three different pictures, ``[3, 3, 64, 64]``."""
    return torch.from_numpy(
        np.concatenate([picture(tag, DEBUG.size) for tag in ("source", "driving", "third")])
    )
