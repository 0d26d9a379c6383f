"""Blend a generated face into the picture around it, as RGB bytes.

Shape letters: N pictures, H W = picture, h w = crop, 3 = red, green, blue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.kernels import _launch, _resample
from mimicam.kernels._check import FLOATS, check, check_limits
from mimicam.kernels._launch import Impl

_BLOCK = (32, 8, 1)
"""Threads (x, y, z) of a block. 32 along x: a warp writes neighbouring pixels."""


def paste_back(
    frame_NHW3: Tensor,
    face_N3hw: Tensor,
    mask_hw: Tensor,
    crop_from_image_N23: Tensor,
    *,
    out: Tensor,
    impl: Impl = "auto",
) -> Tensor:
    """Resample each face into its frame and blend it over the frame.

    Pixel centres sit on integers in both spaces. A frame pixel takes the mean of bilinear samples,
    spread evenly over its footprint in the crop. They lie at most one crop pixel apart (at most 8
    by 8). The blend is *over* with straight alpha (Porter and Duff, "Compositing Digital Images",
    SIGGRAPH 1984), sample by sample. A sample outside the crop shows the frame. Values round to the
    nearest, halves to even.

    Args:
        frame_NHW3: RGB, uint8, contiguous.
        face_N3hw: network output in -1..1, float32 or float16, contiguous.
        mask_hw: opacity of the crop, float32 in 0..1, contiguous, the same for all pictures, 0 on
            its border.
        crop_from_image_N23: float32, maps frame pixels (x, y, 1) to crop pixels. The GPU reads it
            when the kernel runs, so a captured graph uses each new value.
        out: receives the result; same shape and type as the frame, may be the frame.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    inputs = (frame_NHW3, face_N3hw, mask_hw, crop_from_image_N23)
    _check(*inputs, out)
    if _launch.wants_cuda(impl, frame_NHW3):
        return forward_cuda(*inputs, out)
    pictures = zip(frame_NHW3, face_N3hw, crop_from_image_N23, strict=True)
    blended = [_reference_rgb(frame, face, mask_hw, matrix) for frame, face, matrix in pictures]
    return out.copy_(_resample.to_bytes(torch.stack(blended)))


def _reference_rgb(frame_HW3: Tensor, face_3hw: Tensor, mask_hw: Tensor, crop_from_image: Tensor) -> Tensor:
    """Compute one picture ``[3, H, W]`` in 0..255, not rounded."""
    (H, W, _), (h, w) = frame_HW3.shape, mask_hw.shape
    frame = frame_HW3.permute(2, 0, 1).float()
    total, count = torch.zeros_like(frame), 0
    for x, y in _resample.positions(crop_from_image, (H, W)):
        # Outside the crop the frame shows, even where the mask's border is not 0.
        inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
        alpha = _resample.bilinear(mask_hw[None], x, y) * inside
        face = _resample.bilinear(face_3hw, x, y) * 127.5 + 127.5
        # Blended before the mean: the mean of blends differs from the blend of means.
        total += alpha * face.clamp(0, 255) + (1 - alpha) * frame
        count += 1
    return total / count


def forward_cuda(
    frame_NHW3: Tensor, face_N3hw: Tensor, mask_hw: Tensor, crop_from_image_N23: Tensor, out: Tensor
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (N, H, W, _), (h, w) = frame_NHW3.shape, mask_hw.shape
    grid = (_launch.blocks(W, _BLOCK[0]), _launch.blocks(H, _BLOCK[1]), N)
    kernel = f"paste_back_{_launch.suffix(face_N3hw.dtype)}"
    tensors = (frame_NHW3, face_N3hw, mask_hw, crop_from_image_N23, out)
    _launch.launch("paste_back", kernel, grid, _BLOCK, *tensors, H, W, h, w, _resample.MOST_TAPS)
    return out


def _check(frame: Tensor, face: Tensor, mask: Tensor, matrices: Tensor, out: Tensor) -> None:
    check("frame_NHW3", frame, ("N", "H", "W", 3), torch.uint8)
    N, device = len(frame), frame.device
    check("face_N3hw", face, (N, 3, "h", "w"), FLOATS, device=device)
    check("mask_hw", mask, tuple(face.shape[2:]), torch.float32, device=device)
    check("crop_from_image_N23", matrices, (N, 2, 3), torch.float32, device=device)
    check("out", out, tuple(frame.shape), torch.uint8, device=device)
    check_limits("frame_NHW3 or face_N3hw", blocks=N, values=max(frame.numel(), face.numel()))
