"""Puts a kernel on PyTorch's current stream.

A kernel is compiled for the GPU at hand on its first use (0.05 to 0.2 s) and kept. ``prepare`` does that
ahead of time; call it before a CUDA graph is captured, since loading code is not allowed inside a capture.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kernels import _driver, _nvrtc

Impl = Literal["auto", "reference", "cuda"]
"""``auto`` picks by the tensors' device, and by nothing else."""

Value = Tensor | int | float | None

OPS = ("warp_blend", "crop_normalize", "paste_back", "upsample_blur")
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
"""Turing to Blackwell: every RTX card, and the data-centre cards of the same years."""

_FOLDER = Path(__file__).parent / "cuda"


def source(op: str) -> str:
    """The text that is compiled for one op: what all share, then its own file."""
    parts = [(name, (_FOLDER / name).read_text(encoding="utf-8")) for name in ("common.cuh", f"{op}.cu")]
    return "".join(f'#line 1 "{name}"\n{text}\n' for name, text in parts)


def launch(
    op: str, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *values: Value
) -> None:
    """Queue one kernel of an op on the current stream of the first tensor's device. Does not wait.

    The driver checks neither the number nor the types of the values: the op does, and the emulated tests hold
    each call against the kernel's own signature. An ``int`` travels as 32 bits, a ``float`` as float32,
    ``None`` as a null pointer.

    Raises:
        KernelBuildError: the CUDA source does not compile or load on this machine.
    """
    device, stream = _place(values)
    _driver_for_launch().launch(
        _function(op, kernel, device), grid, block, tuple(map(_packed, values)), stream=stream, device=device
    )


def prepare(device: int = 0, ops: tuple[str, ...] = OPS) -> None:
    """Compile and load the kernels of some ops on a device.

    Raises:
        KernelBuildError: one of them does not compile or load.
    """
    for op in ops:
        _module(op, device)


def wants_cuda(impl: Impl, tensor: Tensor) -> bool:
    """Whether a call runs the kernel. ``auto`` goes by the device alone.

    Raises:
        ValueError: ``impl="cuda"`` with tensors elsewhere.
    """
    if impl not in ("auto", "reference", "cuda"):
        raise ValueError(f"impl must be 'auto', 'reference' or 'cuda', got {impl!r}")
    if impl == "cuda" and not tensor.is_cuda:
        raise ValueError(f"impl='cuda' needs CUDA tensors, got one on {tensor.device}")
    return impl != "reference" and tensor.is_cuda


def suffix(dtype: torch.dtype) -> str:
    """How kernel names end, by the type they store."""
    return {torch.float32: "f32", torch.float16: "f16"}[dtype]


def blocks(items: int, size: int) -> int:
    """How many blocks of ``size`` cover ``items``."""
    return -(-items // size)


def _packed(value: Value) -> _driver.Argument:
    if value is None or isinstance(value, Tensor):
        return ctypes.c_void_p(None if value is None else value.data_ptr())
    return ctypes.c_int(value) if isinstance(value, int) else ctypes.c_float(value)


def _place(values: tuple[Value, ...]) -> tuple[int, int]:
    """Device number and stream address of a call."""
    first = next(value for value in values if isinstance(value, Tensor))
    stream = torch.cuda.current_stream(first.device)
    return stream.device_index, stream.cuda_stream


def _driver_for_launch() -> _driver.Driver:
    return _driver.driver()


@lru_cache(maxsize=256)
def _function(op: str, kernel: str, device: int) -> ctypes.c_void_p:
    return _driver_for_launch().function(_module(op, device), kernel)


@lru_cache(maxsize=64)
def _module(op: str, device: int) -> ctypes.c_void_p:
    major, minor = torch.cuda.get_device_capability(device)
    cubin = _nvrtc.compile_cubin(source(op), f"sm_{major}{minor}", name=f"{op}.cu")
    return _driver_for_launch().load(cubin, device)
