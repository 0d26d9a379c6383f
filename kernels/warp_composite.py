"""Warp a person's own pixels over a still background and lay the generated paint over them, as RGB
bytes.

Shape letters: N pictures, H W = canvas, K L = the portrait's pixels, S = side of the networks'
picture, h = side of their flow, 3 = red, green, blue, 4 = these and opacity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.kernels import _launch, _resample
from mimicam.kernels._check import FLOATS, check, check_limits
from mimicam.kernels._launch import Impl

_BLOCK = (32, 8, 1)
"""Threads (x, y, z) of a block. 32 along x: a warp writes neighbouring pixels."""
NUMBERS = (
    "x_scale", "x_shift", "y_scale", "y_shift", "texel", "texel_x", "texel_y", "left", "top", "right", "bottom",
    "fade", "edge_x", "edge_y", "beyond",
)  # fmt: skip
"""Numbers of each picture, in the order of ``Place`` in cuda/warp_composite.cu.

- ``x_scale`` to ``y_shift``: canvas pixels to crop units, -1..1 over the crop.
- ``texel``, ``texel_x``, ``texel_y``: crop units to the portrait's pixels.
- ``left`` to ``bottom``: where the portrait ends, crop units.
- ``fade``: 1 / crop units over which motion fades beyond the crop.
- ``edge_x``, ``edge_y``: 1 / crop units over which paint ends towards the crop's sides; 0 where it
  does not.
- ``beyond``: 1 / crop units over which the portrait replaces paint outside the crop.
"""


def warp_composite(
    texture_NKL4: Tensor,
    background_NHW3: Tensor,
    inpaint_N3SS: Tensor,
    visibility_N1SS: Tensor,
    flow_N2hh: Tensor,
    numbers_NP: Tensor,
    *,
    out: Tensor,
    impl: Impl = "auto",
) -> Tensor:
    """Compute the last warp and blend of DPE's equation 5 at the canvas's size, not the networks'.

    A canvas pixel shows the portrait's pixel that the flow points to, over the background. The
    inpainted picture is blended over it where visibility is low, as far as the pixel is the
    person's. Beyond the crop nothing is inpainted, and the motion at its edge fades. Every map is
    sampled bilinearly, with pixel centres between its edges; edges repeat. Values round to the
    nearest, halves to even.

    Args:
        texture_NKL4: the person, RGBA premultiplied, uint8, contiguous. Opaque: everything moves.
        background_NHW3: what shows where the person is not, uint8, contiguous.
        inpaint_N3SS: -1..1, float32 or float16, contiguous.
        visibility_N1SS: opacity of the portrait over it, float32 in 0..1, contiguous.
        flow_N2hh: displacement to the source pixel, crop units, float32, contiguous.
        numbers_NP: float32, see ``NUMBERS``. The GPU reads them when the kernel runs.
        out: receives the result, uint8 ``[N, H, W, 3]``, contiguous.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    inputs = (texture_NKL4, background_NHW3, inpaint_N3SS, visibility_N1SS, flow_N2hh, numbers_NP)
    _check(*inputs, out)
    if _launch.wants_cuda(impl, texture_NKL4):
        return forward_cuda(*inputs, out)
    shaded = [_reference_rgb(*parts) for parts in zip(*inputs, strict=True)]
    return out.copy_(_resample.to_bytes(torch.stack(shaded)))


def _reference_rgb(
    texture: Tensor, background: Tensor, inpaint: Tensor, visibility: Tensor, flow: Tensor, numbers: Tensor
) -> Tensor:
    """Compute one picture ``[3, H, W]`` in 0..255, not rounded."""
    n = dict(zip(NUMBERS, numbers.float(), strict=True))
    ys, xs = (torch.arange(k, device=texture.device, dtype=torch.float32) for k in background.shape[:2])
    x, y = torch.broadcast_tensors(
        n["x_scale"] * xs + n["x_shift"], (n["y_scale"] * ys + n["y_shift"])[:, None]
    )
    # Beyond the crop (far > 0) the motion at its edge fades, since nothing was generated there.
    far = torch.maximum(x.abs(), y.abs()) - 1
    left = torch.where(far > 0, _smooth(1 - n["fade"] * far), torch.ones_like(far))
    moved = _sample(flow, x, y) * left
    from_x, from_y = x + moved[0], y + moved[1]
    shown = torch.where(far > 0, torch.ones_like(far), _sample(visibility, x, y)[0])
    # Pixels that come from outside the crop show the portrait where it has any: the generator never
    # saw it.
    outside = torch.maximum(from_x.abs(), from_y.abs()) - 1
    inside_x = torch.minimum(from_x - n["left"], n["right"] - from_x)
    inside = torch.minimum(inside_x, torch.minimum(from_y - n["top"], n["bottom"] - from_y))
    shown = torch.maximum(shown, (n["beyond"] * torch.minimum(outside, inside)).clamp(max=1))
    # Paint ends softly at the crop's sides where the canvas goes on: a hard edge would be a seam.
    for place, rate in ((x, n["edge_x"]), (y, n["edge_y"])):
        edge = _smooth(1 - rate * (1 - place.abs())) if rate > 0 else torch.zeros_like(shown)
        shown = torch.maximum(shown, edge)
    texel = (n["texel"] * from_x + n["texel_x"], n["texel"] * from_y + n["texel_y"])
    person = _resample.bilinear(texture.permute(2, 0, 1), *texel)
    opacity = person[3] / 255
    portrait = person[:3] + (1 - opacity) * background.permute(2, 0, 1).float()
    # Paint belongs to the person: the background behind it is known.
    shown = 1 - (1 - shown) * opacity
    paint = (_sample(inpaint, x, y) * 127.5 + 127.5).clamp(0, 255)
    return shown * portrait + (1 - shown) * paint


def _sample(planes_CSS: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample planes at places in crop units."""
    side = planes_CSS.shape[-1]
    return _resample.bilinear(planes_CSS, (x + 1) * 0.5 * side - 0.5, (y + 1) * 0.5 * side - 0.5)


def _smooth(x: Tensor) -> Tensor:
    """Smoothstep from 0 to 1 over 0..1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def forward_cuda(
    texture_NKL4: Tensor,
    background_NHW3: Tensor,
    inpaint_N3SS: Tensor,
    visibility_N1SS: Tensor,
    flow_N2hh: Tensor,
    numbers_NP: Tensor,
    out: Tensor,
) -> Tensor:
    """Queue the kernel. The tensors were checked."""
    (_, K, L, _), S, h = texture_NKL4.shape, visibility_N1SS.shape[-1], flow_N2hh.shape[-1]
    N, H, W, _ = out.shape
    grid = (_launch.blocks(W, _BLOCK[0]), _launch.blocks(H, _BLOCK[1]), N)
    kernel = f"warp_composite_{_launch.suffix(inpaint_N3SS.dtype)}"
    tensors = (texture_NKL4, background_NHW3, inpaint_N3SS, visibility_N1SS, flow_N2hh, numbers_NP, out)
    _launch.launch("warp_composite", kernel, grid, _BLOCK, *tensors, H, W, K, L, S, h)
    return out


def _check(
    texture: Tensor,
    background: Tensor,
    inpaint: Tensor,
    visibility: Tensor,
    flow: Tensor,
    numbers: Tensor,
    out: Tensor,
) -> None:
    check("texture_NKL4", texture, ("N", "K", "L", 4), torch.uint8)
    N, device = len(texture), texture.device
    check("inpaint_N3SS", inpaint, (N, 3, "S", "S"), FLOATS, device=device)
    check("visibility_N1SS", visibility, (N, 1, *inpaint.shape[2:]), torch.float32, device=device)
    check("flow_N2hh", flow, (N, 2, "h", "h"), torch.float32, device=device)
    check("numbers_NP", numbers, (N, len(NUMBERS)), torch.float32, device=device)
    check("out", out, (N, "H", "W", 3), torch.uint8, device=device)
    check("background_NHW3", background, tuple(out.shape), torch.uint8, device=device)
    most = max(texture.numel(), inpaint.numel(), out.numel())
    check_limits("texture_NKL4, inpaint_N3SS or out", blocks=N, values=most)
