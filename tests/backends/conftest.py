from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA kernels on the CPU; see ``tests.kernels.emulation``."""
    from tests.kernels import emulation

    if reason := emulation.missing():
        pytest.skip(reason)
    return emulation.build_once(tmp_path_factory)
