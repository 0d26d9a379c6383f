"""``upsample_blur`` on the picture pyramid of the published preset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.upsample_blur import reference, upsample_blur


def cases(device: str = "cuda") -> Iterator[Case]:
    """Flow or picture, three channels, doubled to 64, 128 and 256 pixels, with the addition."""
    for size in (32, 64, 128):
        yield _case(size, device)


def _case(size: int, device: str) -> Case:
    image = torch.randn(1, 3, size, size, device=device)
    add = torch.randn(1, 3, 2 * size, 2 * size, device=device)
    return Case(
        name=f"3x{size}x{size} float32 and add",
        # float32; the sum is read and the result written, each of the doubled size.
        bytes_moved=4 * (image.numel() + 2 * add.numel()),
        kernel=partial(upsample_blur, image, add_NCHW=add, out=torch.empty_like(add)),
        eager=partial(reference, image, add),
        again=partial(_case, size, device),
    )
