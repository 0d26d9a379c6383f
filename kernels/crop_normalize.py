"""Camera frame to network input in one pass: cut, resize, colour, scale, type.

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


def crop_normalize(
    frame: Tensor,
    image_from_crop_N23: Tensor,
    *,
    out: Tensor,
    pixels: Pixels = "rgb",
    standard: Standard = "bt601",
    scale: float = 2 / 255,
    shift: float = -1.0,
    impl: Impl = "auto",
) -> Tensor:
    """Resample each frame into its crop, as RGB times ``scale`` plus ``shift``.

    Pixel centres sit on integers in both spaces. A crop pixel is the mean of bilinear samples spread evenly
    over its footprint in the frame, at most one frame pixel apart (and at most 8 by 8): shrinking does not
    alias. Beyond the frame its edge pixels repeat. Chroma of ``nv12`` and ``i420`` sits in the middle of its
    four luma pixels. RGB is clamped to 0..255 before scaling.

    Args:
        frame: uint8, contiguous: ``[N, H, W, 3]`` for ``rgb`` and ``bgr``, ``[N, 3 H / 2, W]`` for the
        others.
        image_from_crop_N23: float32 ``[N, 2, 3]``, on the frame's device: maps crop pixels (x, y, 1) to frame
            pixels. Read by the GPU when the kernel runs, so a captured graph sees each new value.
        out: receives the crops, float32 or float16 ``[N, 3, h, w]``, contiguous.
        pixels: how the frame lies in memory.
        standard: the YUV matrix, in its limited range. Webcams send BT.601.
        scale: the default pair maps 0..255 to -1..1.
        shift: see ``scale``.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    _check(frame, image_from_crop_N23, out, pixels, standard)
    if _launch.wants_cuda(impl, frame):
        return forward_cuda(frame, image_from_crop_N23, out, pixels, standard, scale, shift)
    for n in range(len(out)):
        rgb = _reference_rgb(frame[n : n + 1], image_from_crop_N23[n], out.shape[2:], pixels, standard)
        out[n] = rgb.clamp(0, 255) * scale + shift
    return out


def _reference_rgb(
    frame: Tensor, image_from_crop: Tensor, size: torch.Size, pixels: Pixels, standard: Standard
) -> Tensor:
    """One picture's crop ``[3, h, w]`` in 0..255, before clamping."""
    samples = list(_resample.positions(image_from_crop, (size[0], size[1])))
    if not _pixels.planar(pixels):
        mean = _mean(frame[0].permute(2, 0, 1), samples)
        return mean.flip(0) if pixels == "bgr" else mean
    luma, u, v = _pixels.split(frame, pixels)
    H, W = luma.shape[1:]
    halved = [((x.clamp(0, W - 1) - 0.5) / 2, (y.clamp(0, H - 1) - 0.5) / 2) for x, y in samples]
    return torch.cat(_pixels.rgb_from_yuv(_mean(luma, samples), _mean(u, halved), _mean(v, halved), standard))


def _mean(planes_CHW: Tensor, samples: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.stack([_resample.bilinear(planes_CHW, x, y) for x, y in samples]).mean(0)


def forward_cuda(
    frame: Tensor,
    image_from_crop_N23: Tensor,
    out: Tensor,
    pixels: Pixels,
    standard: Standard,
    scale: float,
    shift: float,
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    N, H, W = _pixels.size_of(frame, pixels, "frame")
    h, w = out.shape[2:]
    kr, kb = _pixels.LUMA[standard]
    grid = (_launch.blocks(w, _BLOCK[0]), _launch.blocks(h, _BLOCK[1]), N)
    kernel = f"crop_normalize_{_launch.suffix(out.dtype)}"
    numbers = (H, W, h, w, _pixels.CODES[pixels], _resample.MOST_TAPS, kr, kb, scale, shift)
    _launch.launch("crop_normalize", kernel, grid, _BLOCK, frame, image_from_crop_N23, out, *numbers)
    return out


def _check(frame: Tensor, matrices: Tensor, out: Tensor, pixels: Pixels, standard: Standard) -> None:
    N, _, _ = _pixels.size_of(frame, pixels, "frame")
    if standard not in _pixels.LUMA:
        raise ValueError(f"standard must be one of {', '.join(_pixels.LUMA)}, got {standard!r}")
    _resample.check_matrices(matrices, N, frame.device, "image_from_crop_N23")
    if out.dtype not in _DTYPES or not out.is_contiguous() or out.dim() != 4 or out.shape[:2] != (N, 3):
        raise ValueError(
            f"out must be contiguous float32 or float16 [{N}, 3, h, w], got {out.dtype} {tuple(out.shape)}"
        )
    if out.device != frame.device:
        raise ValueError(f"out lies on {out.device}, the frame on {frame.device}")
    if max(frame.numel(), out.numel()) >= 2**31 or N > 65535 or 0 in out.shape:
        raise ValueError(f"out {tuple(out.shape)} is empty, or the pictures are too large for the kernel")
