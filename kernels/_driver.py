"""The few functions of the CUDA driver that start a kernel, through ctypes.

They are in the driver's own library, so nothing has to be installed beside a CUDA build of PyTorch. Functions
and
results: CUDA Driver API, "Module Management" and "Execution Control".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from kernels.errors import KernelBuildError

Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_float

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class Driver:
    """Loads machine code and queues kernels. Works on PyTorch's context (the device's primary one)."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._cuda = library
        self._check(library.cuInit(0), "start the CUDA driver")

    def load(self, cubin: bytes, device: int) -> ctypes.c_void_p:
        """Load a module on a device. Not while a graph is captured: loading may synchronise.

        Raises:
            KernelBuildError: the driver is older than the compiler, or the code is for another GPU.
        """
        module = ctypes.c_void_p()
        with self._on(device):
            self._check(self._cuda.cuModuleLoadData(ctypes.byref(module), cubin), "load a kernel module")
        return module

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        """Look up one kernel of a module."""
        function = ctypes.c_void_p()
        found = self._cuda.cuModuleGetFunction(ctypes.byref(function), module, name.encode())
        self._check(found, f"find the kernel {name}")
        return function

    def launch(
        self,
        function: ctypes.c_void_p,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: tuple[Argument, ...],
        *,
        stream: int,
        device: int,
    ) -> None:
        """Queue one kernel on a stream. Neither allocates nor waits."""
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        with self._on(device):
            status = self._cuda.cuLaunchKernel(
                function, *grid, *block, 0, ctypes.c_void_p(stream), pointers, None
            )
        self._check(status, f"start a kernel on a grid of {grid} blocks of {block} threads")

    @contextmanager
    def _on(self, device: int) -> Iterator[None]:
        """Within it the thread is on this GPU; after it, where it was, as PyTorch believes it to be.

        A thread that has not spoken to CUDA yet has no context at all, and a launch would be refused.
        """
        current = ctypes.c_int(-1)
        if self._cuda.cuCtxGetDevice(ctypes.byref(current)) == 0 and current.value == device:
            yield
            return
        self._check(self._cuda.cuCtxPushCurrent_v2(_primary_context(self, device)), f"use GPU {device}")
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def retain_primary_context(self, device: int) -> ctypes.c_void_p:
        """The context that PyTorch uses too. Retained once for the life of the process."""
        context = ctypes.c_void_p()
        status = self._cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), ctypes.c_int(device))
        self._check(status, f"open GPU {device}")
        return context

    def _check(self, status: int, doing: str) -> None:
        if status == 0:
            return
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(status, ctypes.byref(text))
        reason = text.value.decode() if text.value else f"error {status}"
        raise KernelBuildError(f"could not {doing}: {reason}; update the GPU driver, or run without a GPU")


@lru_cache(maxsize=1)
def driver() -> Driver:
    """The machine's CUDA driver.

    Raises:
        KernelBuildError: there is none.
    """
    try:
        return Driver(ctypes.CDLL(LIBRARY))
    except OSError as error:
        raise KernelBuildError(f"no CUDA driver here ({error}); install NVIDIA's driver") from error


@lru_cache(maxsize=64)
def _primary_context(owner: Driver, device: int) -> ctypes.c_void_p:
    return owner.retain_primary_context(device)
