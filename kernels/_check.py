"""Checks of a kernel's arguments. A kernel trusts its pointers: a wrong shape would read foreign
memory."""

from __future__ import annotations

import torch
from torch import Tensor

Shape = tuple[int | str, ...]
"""Sizes of a tensor, none of them 0. A word, such as ``h``, accepts any size, but the same wherever
it stands."""

FLOATS = (torch.float32, torch.float16)
"""The types that kernels compute pictures and maps from."""
_INDEX_LIMIT = 2**31
"""Values. Kernels index within one picture with 32 bits."""
_GRID_LIMIT = 65535
"""Blocks along a grid's y and z axes (CUDA programming guide, "Technical Specifications per Compute
Capability")."""


def check(
    name: str,
    tensor: Tensor,
    shape: Shape,
    dtypes: torch.dtype | tuple[torch.dtype, ...],
    *,
    device: torch.device | None = None,
) -> None:
    """Refuse a tensor that is not contiguous, or of another shape, type or device.

    Args:
        name: what errors call it.
        tensor: the argument.
        shape: what it must have; words stand for free sizes.
        dtypes: the type, or those allowed.
        device: where it must lie; None allows any.

    Raises:
        ValueError: it does not fit.
    """
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    # Kernels compute addresses from shapes alone, so strides must be the contiguous ones.
    if not _fits(tensor.shape, shape) or tensor.dtype not in allowed or not tensor.is_contiguous():
        types = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
        sizes = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be contiguous {types} [{sizes}], got {_describe(tensor)}")
    if device is not None and tensor.device != device:
        raise ValueError(f"{name} lies on {tensor.device}, the other tensors on {device}")


def check_limits(name: str, *, blocks: int = 1, values: int) -> None:
    """Refuse what a kernel cannot index.

    Args:
        name: the argument that errors name.
        blocks: blocks along the grid's y or z axis, whichever has more.
        values: of the largest tensor.

    Raises:
        ValueError: it is too large.
    """
    if blocks > _GRID_LIMIT or values >= _INDEX_LIMIT:
        raise ValueError(f"{name} is too large for the kernel: {values} values, {blocks} blocks")


def _fits(sizes: torch.Size, shape: Shape) -> bool:
    bound: dict[int | str, int] = {}
    wanted = (
        # A word is bound by its first use; a later size that differs does not fit.
        bound.setdefault(one, size) if isinstance(one, str) else one
        for one, size in zip(shape, sizes, strict=False)
    )
    return len(sizes) == len(shape) and 0 not in sizes and tuple(sizes) == tuple(wanted)


def _describe(tensor: Tensor) -> str:
    layout = "" if tensor.is_contiguous() else ", not contiguous"
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}{layout}"
