"""How camera and sink pixels lie in memory, and the step between YUV and RGB."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pixels = Literal["rgb", "bgr", "nv12", "i420"]
"""``nv12`` and ``i420``: full-size luma, then half-size chroma, interleaved or plane by plane."""

Standard = Literal["bt601", "bt709"]

CODES: dict[Pixels, int] = {"rgb": 0, "bgr": 1, "nv12": 2, "i420": 3}
"""The numbers in cuda/pixels.cuh."""

LUMA: dict[Standard, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Kr and Kb (ITU-R BT.601-7, section 2.5.1; BT.709-6, section 3.2). Both in the limited range, 16 to 235."""


def planar(pixels: Pixels) -> bool:
    """Whether a picture is ``[3 H / 2, W]`` rather than ``[H, W, 3]``."""
    return pixels in ("nv12", "i420")


def size_of(frame: Tensor, pixels: Pixels, name: str) -> tuple[int, int, int]:
    """N, H and W of a batch of pictures.

    Raises:
        ValueError: naming the argument, when shape, type or layout do not fit.
    """
    if pixels not in CODES:
        raise ValueError(f"pixels must be one of {', '.join(CODES)}, got {pixels!r}")
    if frame.dtype != torch.uint8 or not frame.is_contiguous() or 0 in frame.shape:
        raise ValueError(
            f"{name} must be contiguous uint8 and not empty, got {frame.dtype} {tuple(frame.shape)}"
        )
    if not planar(pixels):
        if frame.dim() != 4 or frame.shape[3] != 3:
            raise ValueError(f"{name} must be [N, H, W, 3] for {pixels}, got {tuple(frame.shape)}")
        return frame.shape[0], frame.shape[1], frame.shape[2]
    if frame.dim() != 3 or frame.shape[1] % 3 or frame.shape[2] % 2:
        raise ValueError(
            f"{name} must be [N, 3 H / 2, W] with even H and W for {pixels}, got {tuple(frame.shape)}"
        )
    return frame.shape[0], frame.shape[1] // 3 * 2, frame.shape[2]


def split(frame_NLW: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Luma ``[N, H, W]`` and both chroma planes ``[N, H / 2, W / 2]`` of planar pictures, as views."""
    N, lines, W = frame_NLW.shape
    H = lines // 3 * 2
    luma, chroma = frame_NLW[:, :H], frame_NLW[:, H:]
    if pixels == "nv12":
        pairs = chroma.reshape(N, H // 2, W // 2, 2)
        return luma, pairs[..., 0], pairs[..., 1]
    planes = chroma.reshape(N, 2, H // 2, W // 2)
    return luma, planes[:, 0], planes[:, 1]


def rgb_from_yuv(y: Tensor, u: Tensor, v: Tensor, standard: Standard) -> tuple[Tensor, Tensor, Tensor]:
    """Limited-range YUV to RGB, both in 0..255. Not clamped."""
    kr, kb = LUMA[standard]
    luma = (y - 16) * (255 / 219)
    red = luma + 2 * (1 - kr) * (255 / 224) * (v - 128)
    blue = luma + 2 * (1 - kb) * (255 / 224) * (u - 128)
    return red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue


def yuv_from_rgb(
    red: Tensor, green: Tensor, blue: Tensor, standard: Standard
) -> tuple[Tensor, Tensor, Tensor]:
    """RGB to limited-range YUV, both in 0..255. Not rounded."""
    kr, kb = LUMA[standard]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    u = 128 + (224 / 255) * (blue - luma) / (2 * (1 - kb))
    v = 128 + (224 / 255) * (red - luma) / (2 * (1 - kr))
    return 16 + (219 / 255) * luma, u, v


def write(rgb_N3HW: Tensor, out: Tensor, pixels: Pixels, standard: Standard) -> Tensor:
    """Pictures in 0..255, not rounded, into ``out`` as its pixels lie in memory; returns ``out``."""
    if not planar(pixels):
        picture = rgb_N3HW.flip(1) if pixels == "bgr" else rgb_N3HW
        return out.copy_(picture.round().clamp(0, 255).permute(0, 2, 3, 1))
    red, green, blue = rgb_N3HW.unbind(1)
    y, u, v = yuv_from_rgb(red, green, blue, standard)
    for plane, values in zip(split(out, pixels), (y, u, v), strict=True):
        mean = values if values is y else torch.nn.functional.avg_pool2d(values, 2)
        plane.copy_(mean.round().clamp(0, 255))
    return out
