"""Run work as if it were captured as a CUDA graph, and detect what a capture forbids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mimicam.benchmarks.host_gpu import HostGpu

_FROM_HOST = {"tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "scalar_tensor"}
"""Operations that copy values from pageable host memory, which synchronises on a GPU."""
_TO_HOST = {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}
"""Operations that return a number to the host, which would wait for the stream."""
_SIZED_BY_VALUES = {
    "aten::nonzero", "aten::masked_select", "aten::unique_dim", "aten::_unique2", "aten::repeat_interleave",
}  # fmt: skip
"""Operations whose result shape is known on the device only. ``repeat_interleave`` with a number
avoids this."""
_CHECKED = {
    "aten::inverse", "aten::_linalg_check_errors", "aten::_linalg_det", "aten::_linalg_solve_ex", "aten::_linalg_svd",
    "aten::linalg_inv", "aten::linalg_inv_ex", "aten::linalg_solve", "aten::linalg_cholesky_ex", "aten::linalg_lu",
    "aten::linalg_lu_factor_ex", "aten::linalg_det", "aten::linalg_eig", "aten::linalg_qr",
}  # fmt: skip
"""Linear algebra that checks for errors on the device, or uses libraries that synchronise."""
_RANDOM = ("aten::rand", "aten::normal", "aten::bernoulli", "aten::multinomial")


class Forbidden(AssertionError):  # noqa: N818 - reads as what it is
    """An operation that a CUDA graph cannot contain."""


class _Functions(TorchFunctionMode):
    """Detects Python-level calls: constants from the host, and reads of numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        name = getattr(func, "__name__", str(func))
        if name in _FROM_HOST:
            raise Forbidden(f"torch.{name} copies from the host")
        if name in ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "cpu"):
            raise Forbidden(f"Tensor.{name} waits for the device")
        if name in ("__getitem__", "__setitem__", "index_put_") and _has_host_index(args[1]):
            raise Forbidden("an index that lies on the host is copied to the device")
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    """Detects operators, independent of their caller."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        name = func.name().split(".")[0]
        if name in _TO_HOST:
            raise Forbidden(f"{name} waits for the device")
        if name in _SIZED_BY_VALUES:
            raise Forbidden(f"{name} makes a shape that only the device knows")
        if name in _CHECKED:
            raise Forbidden(f"{name} asks the device for errors")
        if any(name.startswith(word) for word in _RANDOM):
            raise Forbidden(f"{name} draws numbers: each replay would draw the same")
        if name == "aten::lift_fresh" and args[0].dim():  # a single number is the argument of a fill
            raise Forbidden("constants from the host become a tensor")
        return func(*args, **(kwargs or {}))


@contextmanager
def watched() -> Iterator[None]:
    """Raise `Forbidden` for operations that a capture forbids, inside the block."""
    with _Functions(), _Operators():
        yield


class WatchedGpu(HostGpu):
    """Runs GPU work on the processor.

    As `CudaGpu`, it runs work once before it captures it. The capture is watched.
    """

    def __init__(self) -> None:
        self.captures = 0

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Gpu``."""
        work()  # what is made once and kept is made here
        with watched():
            work()
        self.captures += 1
        return work


def _has_host_index(index: Any) -> bool:
    if isinstance(index, tuple):
        return any(map(_has_host_index, index))
    if isinstance(index, list) or type(index).__module__ == "numpy":
        return True
    return isinstance(index, Tensor) and index.dtype is torch.bool
