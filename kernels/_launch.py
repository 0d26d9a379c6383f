"""Launches kernels on PyTorch's current stream, through CuPy.

A kernel is compiled for the GPU at hand on its first use (0.05 to 0.2 s) and kept. ``prepare`` does
that ahead of time. Call it before a CUDA graph is captured, since loading code is not allowed
inside a capture.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mimicam.kernels import _cupy

Impl = Literal["auto", "reference", "cuda"]
"""``auto`` picks by the tensors' device, and by nothing else."""

Value = Tensor | int | float | None

OPS = (
    "warp_blend",
    "crop_normalize",
    "paste_back",
    "warp_composite",
    "upsample_blur",
    "edit_codes",
    "blur",
)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
"""Turing to Blackwell: every RTX card, and the data-centre cards of the same years."""

_FOLDER = Path(__file__).parent / "cuda"
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(')
"""The head of a kernel, with its name."""
_INCLUDE = re.compile(r'#include "([^"]+)"')


def source(op: str) -> str:
    """Assemble one translation unit for an op: its ``.cu`` file with our own headers written in.

    CuPy keeps machine code under a hash of this text. With ``-I`` instead, a changed header would
    not change the hash, and the old machine code would run.
    """
    return _expanded(f"{op}.cu", set())


def _expanded(name: str, done: set[str]) -> str:
    """Expand a file, each header once and at its first ``#include``. Compiler messages keep each
    file's own lines."""
    done.add(name)
    parts = [f'#line 1 "{name}"']
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        included = _INCLUDE.fullmatch(line)
        if included and included[1] not in done:
            # Line directives, so that compiler messages name the file and line that a reader can
            # open.
            parts += [_expanded(included[1], done), f'#line {number + 1} "{name}"']
        else:
            parts.append("" if included or line == "#pragma once" else line)
    return "\n".join(parts) + "\n"


def names(op: str) -> tuple[str, ...]:
    """List the kernels of one op."""
    return tuple(KERNEL.findall(source(op)))


def launch(
    op: str, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *values: Value
) -> None:
    """Queue one kernel of an op on the current stream of the first tensor's device. Does not wait.

    CuPy checks neither the number nor the types of the values: the op does, and the emulated tests
    hold each call against the kernel's own signature. An ``int`` travels as 32 bits, a ``float`` as
    float32, ``None`` as a null pointer.

    Raises:
        KernelBuildError: CuPy is missing, or the CUDA source does not compile or load on this
            machine.
    """
    device, stream = _place(values)
    # Compiled on the first call. Inside a capture that fails: `prepare` comes before.
    started = _function(op, kernel, device)
    with _queue(device, stream):
        started(grid, block, tuple(map(_packed, values)))


def prepare(device: int = 0, ops: tuple[str, ...] = OPS) -> None:
    """Compile and load the kernels of some ops on a device.

    Raises:
        KernelBuildError: one of them does not compile or load.
    """
    for op in ops:
        for kernel in names(op):
            _function(op, kernel, device)


def wants_cuda(impl: Impl, tensor: Tensor) -> bool:
    """Decide whether a call runs the kernel. ``auto`` chooses by the device alone.

    Raises:
        ValueError: ``impl="cuda"`` with tensors elsewhere.
    """
    if impl not in ("auto", "reference", "cuda"):
        raise ValueError(f"impl must be 'auto', 'reference' or 'cuda', got {impl!r}")
    if impl == "cuda" and not tensor.is_cuda:
        raise ValueError(f"impl='cuda' needs CUDA tensors, got one on {tensor.device}")
    return impl != "reference" and tensor.is_cuda


def suffix(dtype: torch.dtype) -> str:
    """Suffix of a kernel's name, by the type that it stores."""
    return {torch.float32: "f32", torch.float16: "f16"}[dtype]


def blocks(items: int, size: int) -> int:
    """Number of blocks of ``size`` that cover ``items``."""
    return -(-items // size)


def _packed(value: Value) -> np.generic:
    """Pack a value with the width that the kernel reads: CuPy would make 64 bits of Python's
    numbers."""
    if value is None or isinstance(value, Tensor):
        return np.uintp(0 if value is None else value.data_ptr())
    return np.int32(value) if isinstance(value, int) else np.float32(value)


def _place(values: tuple[Value, ...]) -> tuple[int, int]:
    """Device number and stream address of a call."""
    # The first tensor decides; `_check` has made sure that all lie on its device.
    first = next(value for value in values if isinstance(value, Tensor))
    stream = torch.cuda.current_stream(first.device)
    return stream.device_index, stream.cuda_stream


_queue = _cupy.queue  # a name of its own, which the emulated tests replace


@lru_cache(maxsize=256)
def _function(op: str, kernel: str, device: int) -> Any:
    return _cupy.function(_module(op, device), kernel, device)


@lru_cache(maxsize=64)
def _module(op: str, device: int) -> Any:
    return _cupy.load(source(op), device, name=f"{op}.cu")
