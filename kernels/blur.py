"""Smooth a feature map by StyleGAN2's 4x4 kernel, before a strided convolution or after a
transposed one.

Shape letters: N batch, C channels, H W = input, P Q = output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.kernels import _launch
from mimicam.kernels._check import FLOATS, check_limits
from mimicam.kernels._launch import Impl

LINE = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8: the kernel along one axis."""
_BLOCK = 128
_WAVE = 132 * 4 * _BLOCK
"""Threads that an H100 or H200 holds at once: 132 multiprocessors, four blocks. A thread takes 121
registers (``ptxas -v``, sm_90)."""
_PACK = {torch.float32: 4, torch.float16: 8}  # 16 bytes


def blur(
    image_NCHW: Tensor,
    *,
    padding: int,
    gain: float = 1.0,
    stride: int = 1,
    out: Tensor | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Convolve every channel with ``gain * outer([1, 3, 3, 1]) / 64``, zeros outside the map.

    The low-pass filter of StyleGAN2 (CVPR 2020; ``upfirdn2d`` in its code). DPE pads by 2 before a
    3x3 convolution of stride 2, by 1 before a 1x1 one, and by 1 with gain 4 after a transposed one.
    Computed in float32, rounded once.

    The kernel reads a map about once from memory and is meant to be limited by that. At 4 TB/s the
    published maps, 64x256x256 to 512x8x8 in half precision, take at least 4.2, 2.1, 1.1, 0.5, 0.1
    and 0.03 us each with stride 1, and 2.6 us (the largest) with stride 2. Expected are 6 to 7 us
    for the largest and 2.5 to 3 us for those of 32 pixels and less, which are all latency: counted
    from the instructions for sm_90, not measured. No GPU has run this kernel yet.

    Args:
        image_NCHW: float32 or float16 ``[N, C, H, W]``, contiguous or ``torch.channels_last``. The
            latter is fast, with C a multiple of 8 (float16) or 4 (float32).
        padding: zeros on each side.
        gain: sum of the kernel.
        stride: distance of the pixels that are kept, along both axes.
        out: receives the result, in the layout of the input. None allocates.
        impl: see ``Impl``. The kernel is for inference; gradients flow through the reference only.

    Returns:
        ``[N, C, P, Q]`` with ``P = (H + 2 padding - 4) // stride + 1``, in the layout of the input.
        On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit, or the kernel is asked for a
            gradient.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    shape = _check(image_NCHW, padding, stride)
    if out is not None:
        _check_out(out, shape, image_NCHW)
    if _launch.wants_cuda(impl, image_NCHW):
        if torch.is_grad_enabled() and image_NCHW.requires_grad:
            raise ValueError("the blur kernel has no gradient; pass impl='reference' while training")
        out = empty(image_NCHW, padding=padding, stride=stride) if out is None else out
        return forward_cuda(image_NCHW, padding=padding, gain=gain, stride=stride, out=out)
    result = reference(image_NCHW, padding=padding, gain=gain, stride=stride)
    return result if out is None else out.copy_(result)


def reference(image_NCHW: Tensor, *, padding: int, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Compute in PyTorch what the kernel computes, as sums of slices.

    A fusing compiler (torch.compile) merges them with their neighbours; executed as they are, they
    are slow.
    """
    # Summed in float32, as the kernel does, and rounded once at the end.
    padded = F.pad(image_NCHW.float(), (padding,) * 4)
    H, W = (n - 3 for n in padded.shape[2:])
    # Separable: four shifted rows, then four shifted columns.
    rows = [LINE[i] * padded[:, :, i : i + H : stride] for i in range(4)]
    tall = rows[0] + rows[1] + rows[2] + rows[3]
    columns = [gain * LINE[i] * tall[:, :, :, i : i + W : stride] for i in range(4)]
    return (columns[0] + columns[1] + columns[2] + columns[3]).to(image_NCHW.dtype)


def forward_cuda(image_NCHW: Tensor, *, padding: int, gain: float, stride: int, out: Tensor) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (N, C, H, W), (P, Q) = image_NCHW.shape, out.shape[2:]
    kernel, pack = f"blur_{_launch.suffix(image_NCHW.dtype)}", 1
    if _planes(image_NCHW):
        N, C = N * C, 1  # a channel of its own is a map of one channel
    elif C % _PACK[image_NCHW.dtype] == 0:
        kernel, pack = kernel.replace("blur_", "blur_packed_"), _PACK[image_NCHW.dtype]
    rows = _rows(N * P * Q * (C // pack))
    grid = (_launch.blocks(Q * (C // pack), _BLOCK), _launch.blocks(P, rows), N)
    sizes = (C, H, W, P, Q, padding, stride, rows)
    _launch.launch("blur", kernel, grid, (_BLOCK, 1, 1), image_NCHW, out, *sizes, float(gain) / 64)
    return out


def empty(image_NCHW: Tensor, *, padding: int, stride: int) -> Tensor:
    """Allocate the result: its shape, and the layout of the input."""
    N, C, H, W = image_NCHW.shape
    P, Q = ((n + 2 * padding - 4) // stride + 1 for n in (H, W))
    layout = torch.contiguous_format if _planes(image_NCHW) else torch.channels_last
    return torch.empty((N, C, P, Q), dtype=image_NCHW.dtype, device=image_NCHW.device, memory_format=layout)


def _rows(outputs: int) -> int:
    """Output rows of one thread.

    It reads four input rows at a time: 1, 5 and 9 output rows take whole groups, at any stride.
    More rows save reads and conversions, as long as most of a wave of threads is left.
    """
    if outputs <= 1.5 * _WAVE:
        return 1
    return 5 if outputs <= 5 * _WAVE else 9


def _planes(image_NCHW: Tensor) -> bool:
    """Whether channels lie one behind the other."""
    return image_NCHW.is_contiguous()


def _check(image: Tensor, padding: int, stride: int) -> tuple[int, ...]:
    """Return the shape of the result."""
    if image.dim() != 4 or 0 in image.shape or image.dtype not in FLOATS:
        raise ValueError(
            f"image_NCHW must be float32 or float16 [N, C, H, W], got {image.dtype} {list(image.shape)}"
        )
    if not (image.is_contiguous() or image.is_contiguous(memory_format=torch.channels_last)):
        raise ValueError("image_NCHW must be contiguous or channels_last")
    if padding < 0 or stride < 1:
        raise ValueError(f"padding must be at least 0 and stride at least 1, got {padding} and {stride}")
    N, C, H, W = image.shape
    if min(H, W) + 2 * padding < 4:
        raise ValueError(f"image_NCHW of {H}x{W} pixels with padding {padding} is smaller than the kernel")
    P, Q = ((n + 2 * padding - 4) // stride + 1 for n in (H, W))
    values = N * C * max(H * W, P * Q)
    check_limits("image_NCHW", blocks=max(N * C if image.is_contiguous() else N, P), values=values)
    return N, C, P, Q


def _check_out(out: Tensor, shape: tuple[int, ...], image: Tensor) -> None:
    if tuple(out.shape) != shape or out.dtype != image.dtype or out.device != image.device:
        raise ValueError(f"out must be {image.dtype} {list(shape)} on {image.device}, got {list(out.shape)}")
    layout = torch.contiguous_format if _planes(image) else torch.channels_last
    if not out.is_contiguous(memory_format=layout):
        raise ValueError("out must have the layout of image_NCHW")
