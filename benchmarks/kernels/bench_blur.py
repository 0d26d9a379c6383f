"""``blur`` on the maps of the published preset, as its encoder and generators call it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.benchmarks.kernels.bench_warp_blend import MAPS
from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.blur import blur, empty


def cases(device: str = "cuda") -> Iterator[Case]:
    """Every level before the strided convolution, the largest also before the skip's and after the
    transposed one. Half precision, channels last."""
    for size, channels in MAPS:
        yield _case(size, channels, 2, 1.0, 1, device)
    size, channels = MAPS[-1]
    yield _case(size, channels, 1, 1.0, 2, device)
    # One more pixel: a transposed convolution of stride 2 gives an odd side before the blur.
    yield _case(size + 1, channels, 1, 4.0, 1, device)


def _case(size: int, channels: int, padding: int, gain: float, stride: int, device: str) -> Case:
    image = torch.randn(1, channels, size, size, device=device).half()
    image = image.contiguous(memory_format=torch.channels_last)
    out = empty(image, padding=padding, stride=stride)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
    # StyleGAN2's resampling filter: [1, 3, 3, 1] each way, which sums to 64. The gain 4 replaces
    # the zeros that a transposed convolution puts between pixels.
    kernel = (gain * torch.outer(line, line) / 64).half().repeat(channels, 1, 1, 1)
    return Case(
        name=f"{channels}x{size}x{size} float16 NHWC, stride {stride}",
        bytes_moved=2 * (image.numel() + out.numel()),
        kernel=partial(blur, image, padding=padding, gain=gain, stride=stride, out=out),
        eager=partial(_eager, image, kernel, padding=padding, stride=stride),
        again=partial(_case, size, channels, padding, gain, stride, device),
    )


def _eager(image: Tensor, kernel: Tensor, *, padding: int, stride: int) -> Tensor:
    """The depthwise convolution of cuDNN."""
    return F.conv2d(image, kernel, padding=padding, stride=stride, groups=image.shape[1])
