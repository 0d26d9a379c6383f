"""``warp_blend`` on the maps of the published preset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.warp_blend import reference, warp_blend

MAPS = ((8, 512), (16, 512), (32, 512), (64, 256), (128, 128), (256, 64))
"""Side and channels of each level (docs: ``engine.models.dpe.config.PUBLISHED``)."""


def cases(device: str = "cuda") -> Iterator[Case]:
    """Every level, in half precision, in both layouts, and the largest in single."""
    for size, channels in MAPS:
        for layout in (torch.contiguous_format, torch.channels_last):
            yield _case(size, channels, torch.float16, layout, device)
    yield _case(256, 64, torch.float32, torch.contiguous_format, device)


def _case(size: int, channels: int, dtype: torch.dtype, layout: torch.memory_format, device: str) -> Case:
    shape = (1, channels, size, size)
    feature, activation = (
        torch.randn(shape, device=device).to(dtype).contiguous(memory_format=layout) for _ in range(2)
    )
    # A smooth flow, as a trained network gives: neighbours read neighbours.
    coarse = 0.3 * torch.randn(1, 3, 8, 8, device=device)
    flow = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").contiguous()
    out = (torch.empty_like(activation), torch.empty_like(activation))
    name = (
        f"{channels}x{size}x{size} {str(dtype).split('.')[1]} {'NCHW' if feature.is_contiguous() else 'NHWC'}"
    )
    return Case(
        name=name,
        # Two maps are read and two written, and each byte counts once: warping reads neighbours
        # from the cache.
        bytes_moved=4 * feature.numel() * feature.element_size() + flow.numel() * flow.element_size(),
        kernel=partial(warp_blend, feature, activation, flow, out=out),
        eager=partial(reference, feature, activation, flow),
        again=partial(_case, size, channels, dtype, layout, device),
    )
