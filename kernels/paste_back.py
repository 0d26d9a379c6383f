"""Blend a generated face into the camera frame it was cut from, in the sink's pixels.

Shape letters: N pictures, H W = camera frame, h w = crop, 3 = red, green, blue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.kernels import _launch, _pixels, _resample
from mimicam.kernels._launch import Impl
from mimicam.kernels._pixels import Pixels, Standard

_BLOCK = (32, 8, 1)
_DTYPES = (torch.float32, torch.float16)


def paste_back(
    frame_NHW3: Tensor,
    face_N3hw: Tensor,
    mask_hw: Tensor,
    crop_from_image_N23: Tensor,
    colour_N32: Tensor,
    *,
    out: Tensor,
    pixels: Pixels = "rgb",
    standard: Standard = "bt601",
    impl: Impl = "auto",
) -> Tensor:
    """Resample each face into frame space, match its colour, blend it over the frame, convert.

    Pixel centres sit on integers in both spaces. A frame pixel takes the mean of bilinear samples spread
    evenly over its footprint in the crop, at most one crop pixel apart (and at most 8 by 8). The blend is
    *over* with straight alpha (Porter and Duff, "Compositing Digital Images", SIGGRAPH 1984), sample by
    sample; a sample outside the crop shows the frame. Values round to the nearest, halves to even.

    Args:
        frame_NHW3: camera frame, uint8 RGB, contiguous.
        face_N3hw: network output, float32 or float16, contiguous.
        mask_hw: opacity of the crop, float32 in 0..1, contiguous, the same for all pictures, 0 on its border.
        crop_from_image_N23: float32, maps frame pixels (x, y, 1) to crop pixels. Read by the GPU when the
            kernel runs, so a captured graph sees each new value.
        colour_N32: float32 gain and bias per channel that take the face to 0..255: ``(127.5, 127.5)`` for a
            network that ends in -1..1, times whatever matches it to the frame's light.
        out: receives the result, uint8, contiguous: ``[N, H, W, 3]`` for ``rgb`` and ``bgr`` (may be the
            frame), ``[N, 3 H / 2, W]`` with even H and W for ``nv12`` and ``i420`` (chroma: mean of four
            pixels).
        pixels: how ``out`` lies in memory.
        standard: the YUV matrix, in its limited range.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    _check(frame_NHW3, face_N3hw, mask_hw, crop_from_image_N23, colour_N32)
    _check_out(frame_NHW3, out, pixels, standard)
    inputs = (frame_NHW3, face_N3hw, mask_hw, crop_from_image_N23, colour_N32)
    if _launch.wants_cuda(impl, frame_NHW3):
        return forward_cuda(*inputs, out, pixels, standard)
    blended = [
        _reference_rgb(frame, face, mask_hw, matrix, colour)
        for frame, face, matrix, colour in zip(
            frame_NHW3, face_N3hw, crop_from_image_N23, colour_N32, strict=True
        )
    ]
    return _pixels.write(torch.stack(blended), out, pixels, standard)


def _reference_rgb(
    frame_HW3: Tensor, face_3hw: Tensor, mask_hw: Tensor, crop_from_image: Tensor, colour_32: Tensor
) -> Tensor:
    """One picture ``[3, H, W]`` in 0..255, not rounded."""
    (H, W, _), (h, w) = frame_HW3.shape, mask_hw.shape
    frame = frame_HW3.permute(2, 0, 1).float()
    total, count = torch.zeros_like(frame), 0
    for x, y in _resample.positions(crop_from_image, (H, W)):
        inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
        alpha = _resample.bilinear(mask_hw[None], x, y) * inside
        face = _resample.bilinear(face_3hw, x, y) * colour_32[:, 0, None, None] + colour_32[:, 1, None, None]
        total += alpha * face.clamp(0, 255) + (1 - alpha) * frame
        count += 1
    return total / count


def forward_cuda(
    frame_NHW3: Tensor,
    face_N3hw: Tensor,
    mask_hw: Tensor,
    crop_from_image_N23: Tensor,
    colour_N32: Tensor,
    out: Tensor,
    pixels: Pixels,
    standard: Standard,
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (N, H, W, _), (h, w) = frame_NHW3.shape, mask_hw.shape
    planar = _pixels.planar(pixels)
    across, down = (W // 2, H // 2) if planar else (W, H)
    grid = (_launch.blocks(across, _BLOCK[0]), _launch.blocks(down, _BLOCK[1]), N)
    kernel = f"paste_back_{'planar' if planar else 'packed'}_{_launch.suffix(face_N3hw.dtype)}"
    tensors = (frame_NHW3, face_N3hw, mask_hw, crop_from_image_N23, colour_N32, out)
    numbers = (H, W, h, w, _pixels.CODES[pixels], _resample.MOST_TAPS, *_pixels.LUMA[standard])
    _launch.launch("paste_back", kernel, grid, _BLOCK, *tensors, *numbers)
    return out


def _check(frame: Tensor, face: Tensor, mask: Tensor, matrices: Tensor, colour: Tensor) -> None:
    N, _, _ = _pixels.size_of(frame, "rgb", "frame_NHW3")
    if face.dtype not in _DTYPES or not face.is_contiguous() or face.dim() != 4 or face.shape[:2] != (N, 3):
        raise ValueError(
            f"face_N3hw must be contiguous float32 or float16 [{N}, 3, h, w], got {tuple(face.shape)}"
        )
    if (
        mask.shape != face.shape[2:]
        or mask.dtype != torch.float32
        or not mask.is_contiguous()
        or 0 in mask.shape
    ):
        raise ValueError(
            f"mask_hw must be contiguous float32 {tuple(face.shape[2:])}, got {tuple(mask.shape)}"
        )
    _resample.check_matrices(matrices, N, frame.device, "crop_from_image_N23")
    if colour.shape != (N, 3, 2) or colour.dtype != torch.float32 or not colour.is_contiguous():
        raise ValueError(f"colour_N32 must be contiguous float32 {(N, 3, 2)}, got {tuple(colour.shape)}")
    if len({tensor.device for tensor in (frame, face, mask, colour)}) > 1:
        raise ValueError("frame, face, mask and colour must lie on one device")
    if max(frame.numel(), face.numel()) >= 2**31 or N > 65535:
        raise ValueError(f"frame_NHW3 {tuple(frame.shape)} is too large for the kernel")


def _check_out(frame: Tensor, out: Tensor, pixels: Pixels, standard: Standard) -> None:
    if standard not in _pixels.LUMA:
        raise ValueError(f"standard must be one of {', '.join(_pixels.LUMA)}, got {standard!r}")
    if _pixels.size_of(out, pixels, "out") != tuple(frame.shape[:3]) or out.device != frame.device:
        raise ValueError(
            f"out {tuple(out.shape)} must hold {tuple(frame.shape[:3])} as {pixels}, on {frame.device}"
        )
