"""Double a picture or a flow field: zero insertion, then the 4x4 blur of StyleGAN2's skip
connections.

Shape letters: N batch, C channels, h w = input, H = 2 h, W = 2 w.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.kernels import _launch
from mimicam.kernels._check import FLOATS, check, check_limits
from mimicam.kernels._launch import Impl

_TILE = (32, 8)  # TILE_W, TILE_H in cuda/upsample_blur.cu


def upsample_blur(
    image_NChw: Tensor, *, add_NCHW: Tensor | None = None, out: Tensor | None = None, impl: Impl = "auto"
) -> Tensor:
    """Insert zeros, pad by (2, 1) and blur with ``4 * outer([1, 3, 3, 1]) / 64``; then add.

    The up-sampling of StyleGAN2's skip connections (CVPR 2020, section 4.1), as DPE uses it for its
    flow field and its picture. ``add_NCHW`` is what the level adds to it. Computed in float32,
    rounded once.

    Args:
        image_NChw: float32 or float16 ``[N, C, h, w]``, contiguous.
        add_NCHW: same type ``[N, C, 2 h, 2 w]``, contiguous; may be ``out``.
        out: receives the result. None allocates.
        impl: see ``Impl``. The kernel is for inference; gradients flow through the reference only.

    Returns:
        ``[N, C, 2 h, 2 w]``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit, or the kernel is asked for a
            gradient.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    _check(image_NChw, add_NCHW, out)
    if _launch.wants_cuda(impl, image_NChw):
        tensors = (image_NChw,) if add_NCHW is None else (image_NChw, add_NCHW)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise ValueError("the upsample_blur kernel has no gradient; pass impl='reference' while training")
        return forward_cuda(image_NChw, add_NCHW, _empty(image_NChw) if out is None else out)
    result = reference(image_NChw, add_NCHW)
    return result if out is None else out.copy_(result)


def reference(image_NChw: Tensor, add_NCHW: Tensor | None = None) -> Tensor:
    """Compute in PyTorch what the kernel computes, as the published network does it."""
    N, C, h, w = image_NChw.shape
    image = image_NChw.float()
    spread = torch.stack((image, torch.zeros_like(image)), dim=-1).reshape(N * C, 1, h, 2 * w)
    spread = torch.stack((spread, torch.zeros_like(spread)), dim=-2).reshape(N * C, 1, 2 * h, 2 * w)
    result = F.conv2d(F.pad(spread, (2, 1, 2, 1)), _kernel_1144(image.device)).reshape(N, C, 2 * h, 2 * w)
    if add_NCHW is not None:
        result = result + add_NCHW.float()
    return result.to(image_NChw.dtype)


@lru_cache(maxsize=16)
def _kernel_1144(device: torch.device) -> Tensor:
    """Make the blur's kernel on a device, once: a captured graph may not copy from the host."""
    with torch.inference_mode(False):
        line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
        return (4 * torch.outer(line, line) / 64)[None, None]


def forward_cuda(image_NChw: Tensor, add_NCHW: Tensor | None, out: Tensor) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    N, C, h, w = image_NChw.shape
    grid = (_launch.blocks(w, _TILE[0]), _launch.blocks(h, _TILE[1]), N * C)
    kernel = f"upsample_blur_{_launch.suffix(image_NChw.dtype)}"
    _launch.launch("upsample_blur", kernel, grid, (*_TILE, 1), image_NChw, add_NCHW, out, h, w)
    return out


def _empty(image_NChw: Tensor) -> Tensor:
    N, C, h, w = image_NChw.shape
    return image_NChw.new_empty(N, C, 2 * h, 2 * w)


def _check(image: Tensor, add: Tensor | None, out: Tensor | None) -> None:
    check("image_NChw", image, ("N", "C", "h", "w"), FLOATS)
    N, C, h, w = image.shape
    check_limits("image_NChw", blocks=N * C, values=4 * image.numel())
    for name, other in (("add_NCHW", add), ("out", out)):
        if other is not None:
            check(name, other, (N, C, 2 * h, 2 * w), image.dtype, device=image.device)
