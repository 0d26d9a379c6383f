"""Put the layers of a generated face together on its canvas, from the portrait's own pixels, in the sink's pixels.

Shape letters: N pictures, H W = canvas, K L = the portrait's pixels, S = side of the networks' picture, h = side of their
flow, 3 = red, green, blue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.kernels import _launch, _pixels, _resample
from mimicam.kernels._launch import Impl
from mimicam.kernels._pixels import Pixels, Standard

_BLOCK = (32, 8, 1)
_DTYPES = (torch.float32, torch.float16)
NUMBERS = (
    "x_scale", "x_shift", "y_scale", "y_shift", "texel", "texel_x", "texel_y", "left", "top", "right", "bottom",
    "fade", "edge_x", "edge_y", "beyond",
)  # fmt: skip
"""Of each picture. Canvas pixels to crop units (-1..1 over the crop), crop units to the portrait's pixels, where the
portrait ends in crop units, and four rates per crop unit: at which motion comes to rest beyond the crop, at which paint
ends towards the crop's sides (0: it does not), and at which the portrait takes the paint's place outside the crop."""


def warp_composite(
    texture_NKL3: Tensor,
    painted_N3SS: Tensor,
    mask_N1SS: Tensor,
    flow_N2hh: Tensor,
    numbers_NP: Tensor,
    *,
    out: Tensor,
    pixels: Pixels = "rgb",
    standard: Standard = "bt601",
    impl: Impl = "auto",
) -> Tensor:
    """The last warp and blend of DPE's equation 5, at the canvas's size instead of the networks'.

    A canvas pixel shows the portrait where the flow says it comes from, and over it, as far as the mask lets it, what was
    painted. Beyond the crop nothing is painted, and the motion at its edge fades. Every map is sampled bilinearly, pixel
    centres between its edges, edges repeating. Values round to the nearest, halves to even.

    Args:
        texture_NKL3: the portrait's pixels, uint8 RGB, contiguous.
        painted_N3SS: -1..1, float32 or float16, contiguous.
        mask_N1SS: how much of the portrait is shown, float32 in 0..1, contiguous.
        flow_N2hh: where a pixel comes from, less where it is, crop units, float32, contiguous.
        numbers_NP: float32, see ``NUMBERS``. Read by the GPU when the kernel runs.
        out: receives the result, uint8, contiguous: ``[N, H, W, 3]`` for ``rgb`` and ``bgr``, ``[N, 3 H / 2, W]`` with
            even H and W for ``nv12`` and ``i420``.
        pixels: how ``out`` lies in memory.
        standard: the YUV matrix, in its limited range.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    inputs = (texture_NKL3, painted_N3SS, mask_N1SS, flow_N2hh, numbers_NP)
    _check(*inputs, out, pixels, standard)
    if _launch.wants_cuda(impl, texture_NKL3):
        return forward_cuda(*inputs, out, pixels, standard)
    _, H, W = _pixels.size_of(out, pixels, "out")
    shaded = [_reference_rgb(*parts, (H, W)) for parts in zip(*inputs, strict=True)]
    return _pixels.write(torch.stack(shaded), out, pixels, standard)


def _reference_rgb(
    texture: Tensor, painted: Tensor, mask: Tensor, flow: Tensor, numbers: Tensor, size: tuple[int, int]
) -> Tensor:
    """One picture ``[3, H, W]`` in 0..255, not rounded."""
    n = dict(zip(NUMBERS, numbers.float(), strict=True))
    ys, xs = (torch.arange(k, device=texture.device, dtype=torch.float32) for k in size)
    x, y = torch.broadcast_tensors(
        n["x_scale"] * xs + n["x_shift"], (n["y_scale"] * ys + n["y_shift"])[:, None]
    )
    far = torch.maximum(x.abs(), y.abs()) - 1
    left = torch.where(far > 0, _smooth(1 - n["fade"] * far), torch.ones_like(far))
    moved = _sample(flow, x, y) * left
    from_x, from_y = x + moved[0], y + moved[1]
    shown = torch.where(far > 0, torch.ones_like(far), _sample(mask, x, y)[0])
    outside = torch.maximum(from_x.abs(), from_y.abs()) - 1
    inside_x = torch.minimum(from_x - n["left"], n["right"] - from_x)
    inside = torch.minimum(inside_x, torch.minimum(from_y - n["top"], n["bottom"] - from_y))
    shown = torch.maximum(shown, (n["beyond"] * torch.minimum(outside, inside)).clamp(max=1))
    for place, rate in ((x, n["edge_x"]), (y, n["edge_y"])):
        edge = _smooth(1 - rate * (1 - place.abs())) if rate > 0 else torch.zeros_like(shown)
        shown = torch.maximum(shown, edge)
    texel = (n["texel"] * from_x + n["texel_x"], n["texel"] * from_y + n["texel_y"])
    portrait = _resample.bilinear(texture.permute(2, 0, 1), *texel)
    paint = (_sample(painted, x, y) * 127.5 + 127.5).clamp(0, 255)
    return shown * portrait + (1 - shown) * paint


def _sample(planes_CSS: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Planes at places in crop units."""
    side = planes_CSS.shape[-1]
    return _resample.bilinear(planes_CSS, (x + 1) * 0.5 * side - 0.5, (y + 1) * 0.5 * side - 0.5)


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def forward_cuda(
    texture_NKL3: Tensor,
    painted_N3SS: Tensor,
    mask_N1SS: Tensor,
    flow_N2hh: Tensor,
    numbers_NP: Tensor,
    out: Tensor,
    pixels: Pixels,
    standard: Standard,
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (_, K, L, _), S, h = texture_NKL3.shape, mask_N1SS.shape[-1], flow_N2hh.shape[-1]
    N, H, W = _pixels.size_of(out, pixels, "out")
    planar = _pixels.planar(pixels)
    across, down = (W // 2, H // 2) if planar else (W, H)
    grid = (_launch.blocks(across, _BLOCK[0]), _launch.blocks(down, _BLOCK[1]), N)
    kernel = f"warp_composite_{'planar' if planar else 'packed'}_{_launch.suffix(painted_N3SS.dtype)}"
    tensors = (texture_NKL3, painted_N3SS, mask_N1SS, flow_N2hh, numbers_NP, out)
    numbers = (H, W, K, L, S, h, _pixels.CODES[pixels], *_pixels.LUMA[standard])
    _launch.launch("warp_composite", kernel, grid, _BLOCK, *tensors, *numbers)
    return out


def _check(
    texture: Tensor,
    painted: Tensor,
    mask: Tensor,
    flow: Tensor,
    numbers: Tensor,
    out: Tensor,
    pixels: Pixels,
    standard: Standard,
) -> None:
    N, _, _ = _pixels.size_of(texture, "rgb", "texture_NKL3")
    S, h = painted.shape[-1], flow.shape[-1]
    if painted.dtype not in _DTYPES:
        raise ValueError(f"painted_N3SS must be float32 or float16, got {painted.dtype}")
    wanted = {
        "painted_N3SS": (painted, (N, 3, S, S), painted.dtype), "mask_N1SS": (mask, (N, 1, S, S), torch.float32),
        "flow_N2hh": (flow, (N, 2, h, h), torch.float32),
        "numbers_NP": (numbers, (N, len(NUMBERS)), torch.float32),
    }  # fmt: skip
    for name, (tensor, shape, dtype) in wanted.items():
        fits = tensor.shape == shape and tensor.dtype == dtype and tensor.is_contiguous() and 0 not in shape
        if not fits:
            raise ValueError(
                f"{name} must be contiguous {dtype} {shape}, got {tensor.dtype} {tuple(tensor.shape)}"
            )
    if standard not in _pixels.LUMA:
        raise ValueError(f"standard must be one of {', '.join(_pixels.LUMA)}, got {standard!r}")
    if _pixels.size_of(out, pixels, "out")[0] != N:
        raise ValueError(f"out {tuple(out.shape)} must hold {N} pictures as {pixels}")
    if len({tensor.device for tensor in (texture, painted, mask, flow, numbers, out)}) > 1:
        raise ValueError("texture, painted, mask, flow, numbers and out must lie on one device")
    if max(texture.numel(), painted.numel(), out.numel()) >= 2**31 or N > 65535:
        raise ValueError(
            f"texture_NKL3 {tuple(texture.shape)} or out {tuple(out.shape)} is too large for the kernel"
        )
