from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="kernels need torch")

from mimicam.kernels import KernelBuildError, _cupy  # noqa: E402
from tests.kernels import emulation  # noqa: E402


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with every kernel, built once."""
    if reason := emulation.missing():
        pytest.skip(reason)
    return emulation.build_once(tmp_path_factory)


@pytest.fixture(scope="session")
def compiler() -> tuple[int, int]:
    """The version of CuPy's compiler, which needs no GPU."""
    try:
        found: tuple[int, int] = _cupy.cupy().cuda.nvrtc.getVersion()
        return found
    except (KernelBuildError, RuntimeError, OSError, ImportError) as error:
        pytest.skip(str(error))


@pytest.fixture(params=list(emulation.ORDERS))
def on_cpu(request: pytest.FixtureRequest, emulator: Path) -> Iterator[None]:
    """Kernels run on the CPU, in each order of threads."""
    with emulation.on_cpu(emulator, request.param):
        yield


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device of the tests that need one. References run in full float32: TF32 alone is off by 5e-4."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of PyTorch")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    return "cuda"
