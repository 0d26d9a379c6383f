"""Camera frame to network input in one pass: cut, resize, scale, convert the type.

Shape letters: N pictures, H W = camera frame, h w = crop, 3 = red, green, blue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.kernels import _launch, _resample
from mimicam.kernels._check import FLOATS, check, check_limits
from mimicam.kernels._launch import Impl

_BLOCK = (32, 8, 1)
"""Threads (x, y, z) of a block. 32 along x: a warp reads neighbouring pixels."""


def crop_normalize(
    frame_NHW3: Tensor,
    image_from_crop_N23: Tensor,
    *,
    out: Tensor,
    scale: float = 2 / 255,
    shift: float = -1.0,
    impl: Impl = "auto",
) -> Tensor:
    """Resample each frame into its crop, times ``scale`` plus ``shift``.

    Pixel centres sit on integers in both spaces. A crop pixel is the mean of bilinear samples,
    spread evenly over its footprint in the frame. They lie at most one frame pixel apart (at most 8
    by 8), so that shrinking does not alias. Beyond the frame its edge pixels repeat.

    Args:
        frame_NHW3: RGB, uint8, contiguous.
        image_from_crop_N23: float32, on the frame's device: maps crop pixels (x, y, 1) to frame
            pixels. The GPU reads it when the kernel runs, so a captured graph uses each new value.
        out: receives the crops, float32 or float16 ``[N, 3, h, w]``, contiguous.
        scale: the default pair maps 0..255 to -1..1.
        shift: see ``scale``.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    _check(frame_NHW3, image_from_crop_N23, out)
    if _launch.wants_cuda(impl, frame_NHW3):
        return forward_cuda(frame_NHW3, image_from_crop_N23, out, scale, shift)
    # Picture by picture: each matrix has its own number of samples.
    for n in range(len(out)):
        rgb = _reference_rgb(frame_NHW3[n], image_from_crop_N23[n], out.shape[2:])
        out[n] = rgb.clamp(0, 255) * scale + shift
    return out


def _reference_rgb(frame_HW3: Tensor, image_from_crop: Tensor, size: torch.Size) -> Tensor:
    """Compute one picture's crop ``[3, h, w]`` in 0..255, before clamping."""
    planes = frame_HW3.permute(2, 0, 1)
    samples = _resample.positions(image_from_crop, (size[0], size[1]))
    return torch.stack([_resample.bilinear(planes, x, y) for x, y in samples]).mean(0)


def forward_cuda(
    frame_NHW3: Tensor, image_from_crop_N23: Tensor, out: Tensor, scale: float, shift: float
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (N, H, W, _), (h, w) = frame_NHW3.shape, out.shape[2:]
    grid = (_launch.blocks(w, _BLOCK[0]), _launch.blocks(h, _BLOCK[1]), N)
    kernel = f"crop_normalize_{_launch.suffix(out.dtype)}"
    numbers = (H, W, h, w, _resample.MOST_TAPS, scale, shift)
    _launch.launch("crop_normalize", kernel, grid, _BLOCK, frame_NHW3, image_from_crop_N23, out, *numbers)
    return out


def _check(frame: Tensor, matrices: Tensor, out: Tensor) -> None:
    check("frame_NHW3", frame, ("N", "H", "W", 3), torch.uint8)
    N, device = len(frame), frame.device
    check("image_from_crop_N23", matrices, (N, 2, 3), torch.float32, device=device)
    check("out", out, (N, 3, "h", "w"), FLOATS, device=device)
    check_limits("frame_NHW3 or out", blocks=N, values=max(frame.numel(), out.numel()))
