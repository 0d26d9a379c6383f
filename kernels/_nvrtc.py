"""NVIDIA's runtime compiler through ctypes: CUDA source to machine code, without a GPU and without nvcc.

The library comes with any CUDA build of PyTorch, with the wheel ``nvidia-cuda-nvrtc`` (98 MB on disk) or with
a CUDA toolkit. Functions and their results: NVRTC documentation, "User Interface".
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from kernels.errors import KernelBuildError

_REMEDY = "install it: pip install nvidia-cuda-nvrtc"
_WHEEL_PATTERNS = ("nvidia/*/lib/libnvrtc.so*", "nvidia/*/lib64/libnvrtc.so*", "nvidia/*/bin/**/nvrtc64*.dll")
_SYSTEM_PATTERNS = ("lib64/libnvrtc.so*", "lib/libnvrtc.so*", "bin/**/nvrtc64*.dll")


def compile_cubin(source: str, arch: str, *, name: str = "kernel.cu") -> bytes:
    """Compile CUDA C++ to the machine code of one architecture.

    Args:
        source: one translation unit that includes nothing.
        arch: ``"sm_75"`` and the like.
        name: what the compiler's messages call the source.

    Returns:
        The cubin, an ELF file.

    Raises:
        KernelBuildError: the compiler is missing, does not know ``arch``, or refuses the source.
    """
    nvrtc = _library()
    program = ctypes.c_void_p()
    created = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    if created:
        raise KernelBuildError(f"NVRTC could not start on {name}: {_reason(nvrtc, created)}; {_REMEDY}")
    try:
        options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17"]
        status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if status:
            log = _read(nvrtc, "ProgramLog", program).decode(errors="replace").rstrip("\0\n ")
            raise KernelBuildError(f"{name} does not compile for {arch}: {_reason(nvrtc, status)}\n{log}")
        return _read(nvrtc, "CUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@lru_cache(maxsize=1)
def version() -> tuple[int, int]:
    """Major and minor version of the compiler.

    Raises:
        KernelBuildError: no NVRTC on this machine.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _read(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


def _reason(nvrtc: ctypes.CDLL, status: int) -> str:
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    return str(nvrtc.nvrtcGetErrorString(status).decode())


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    tried: list[str] = []
    for path in _candidates():
        try:
            _load_builtins(path)
            return ctypes.CDLL(path)
        except OSError as error:
            tried.append(str(error))
    seen = f" ({'; '.join(tried)})" if tried else ""
    raise KernelBuildError(f"NVIDIA's runtime compiler (NVRTC) was not found{seen}; {_REMEDY}")


def _load_builtins(path: str) -> None:
    """NVRTC opens its built-ins by bare name; loaded first, they need not be on the search path."""
    for builtins in sorted(Path(path).parent.glob("*nvrtc-builtins*")):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)


def _candidates() -> Iterator[str]:
    for entry in sys.path:
        yield from _matches(Path(entry or "."), _WHEEL_PATTERNS)
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if variable in os.environ:
            yield from _matches(Path(os.environ[variable]), _SYSTEM_PATTERNS)
    yield from _matches(Path("/usr/local/cuda"), _SYSTEM_PATTERNS)
    if found := ctypes.util.find_library("nvrtc"):
        yield found


def _matches(root: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    """Libraries under ``root``. The ``alt`` build is a slimmer twin that not every driver accepts."""
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if "builtins" not in path.name and ".alt" not in path.name:
                yield str(path)
