"""CuPy compiles our kernels and launches them; PyTorch owns the memory and the streams.

Only addresses are passed between the two, so nothing is copied. Both use the device's primary
context (CuPy reference, "Interoperability"). CuPy is imported at the first kernel, so a machine
without a GPU does not need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mimicam.kernels.errors import KernelBuildError

INSTALL = "pip install 'mimicam[gpu]'"
OPTIONS = ("--std=c++17",)
_CUPYS_OWN = ("-ftz=true", "--device-as-default-execution-space")
"""Options that ``RawModule`` adds (CuPy 14). A compilation without a GPU then is the same one."""


def cupy() -> Any:
    """Import the CuPy package.

    Raises:
        KernelBuildError: it is not installed, or is older than 14, which first took other
            libraries' streams.
    """
    try:
        import cupy as package
    except ImportError as error:
        raise KernelBuildError(f"our CUDA kernels run through CuPy ({error}): {INSTALL}") from error
    if not hasattr(package.cuda.Stream, "from_external"):
        raise KernelBuildError(f"CuPy {package.__version__} is too old: {INSTALL} --upgrade")
    return package


def load(source: str, device: int, *, name: str) -> Any:
    """Compile for a GPU and load there: a ``cupy.RawModule``. CuPy keeps the machine code in
    ``~/.cupy``.

    Not while a graph is captured: loading may synchronise.

    Args:
        source: one translation unit that includes nothing.
        device: its number.
        name: what errors call it.

    Raises:
        KernelBuildError: no CuPy or no compiler here; the source does not compile, with the
            compiler's log; or the driver does not take the result.
    """
    package = cupy()
    with _told(name, package), package.cuda.Device(device):
        # CuPy caches machine code on disk by source, options and architecture.
        module = package.RawModule(code=source, options=OPTIONS)
        module.compile()
        return module


def function(module: Any, kernel: str, device: int) -> Any:
    """One kernel of a loaded module: call it with grid, block and arguments.

    Raises:
        KernelBuildError: the module has none of that name.
    """
    package = cupy()
    with _told(kernel, package), package.cuda.Device(device):
        found = module.get_function(kernel)
        _ = found.kernel  # looked up now, not inside a capture
        return found


@contextlib.contextmanager
def queue(device: int, stream: int) -> Iterator[None]:
    """Send CuPy's launches within to one GPU and to the stream at this address."""
    with cupy().cuda.Device(device), _stream(stream):
        yield


def compile_for(source: str, arch: str, *, name: str = "kernel.cu", form: str = "cubin") -> bytes:
    """Machine code of one architecture, or PTX, by the same compiler with the same options; needs
    no GPU.

    Args:
        source: as in ``load``.
        arch: ``"sm_75"`` and the like; ``"compute_75"`` for PTX.
        name: what the compiler's messages call it.
        form: ``"cubin"`` or ``"ptx"``.

    Raises:
        KernelBuildError: the compiler is missing, does not know ``arch``, or refuses the source.
    """
    package = cupy()
    nvrtc = package.cuda.nvrtc
    with _told(name, package, arch):
        # NVRTC compiles without a GPU, so a build machine can check every architecture.
        program = nvrtc.createProgram(source, name, (), ())
        try:
            nvrtc.compileProgram(program, (*OPTIONS, *_CUPYS_OWN, f"--gpu-architecture={arch}"))
            result: bytes = nvrtc.getCUBIN(program) if form == "cubin" else nvrtc.getPTX(program)
            return result
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise KernelBuildError(f"{name} does not compile for {arch}: {error}\n{log}".rstrip()) from error
        finally:
            nvrtc.destroyProgram(program)


@contextlib.contextmanager
def _told(name: str, package: Any, arch: str = "this GPU") -> Iterator[None]:
    """Turn CuPy's errors into one that names the kernel. Its driver and runtime errors are
    ``RuntimeError``."""
    try:
        yield
    except package.cuda.compiler.CompileException as error:
        raise KernelBuildError(f"{name} does not compile for {arch}:\n{error}") from error
    except (RuntimeError, OSError, ImportError) as error:
        if isinstance(error, KernelBuildError):
            raise
        first = str(error).strip().splitlines()[0]
        raise KernelBuildError(
            f"CuPy cannot prepare {name} ({first}): update the GPU driver, or {INSTALL}"
        ) from error


class _Address:
    """A stream of PyTorch's in CUDA's stream protocol. PyTorch never destroys its streams."""

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        # Version of the protocol, then the stream's address.
        return 0, self._stream


@lru_cache(maxsize=64)
def _stream(address: int) -> Any:
    # Cached by address: making the wrapper takes longer than a launch.
    return cupy().cuda.Stream.from_external(_Address(address))
