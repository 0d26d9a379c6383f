"""Parts of the mixed-precision networks: precision forms, blurs, upsampling, narrow products."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mimicam.kernels.torch_ops  # noqa: F401 - registers the operators
from mimicam.engine.models.dpe.stylegan2 import blur_kernel

_BLUR = (0.125, 0.375, 0.375, 0.125)
"""Blur kernel [1, 3, 3, 1] / 8 along one axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Precision and structure of the networks. All forms give the same pictures within rounding."""

    dtype: torch.dtype = torch.float16
    """Type of feature maps and convolutions. Latents, modulation, flows and the picture's sum are
    always float32."""
    fused: bool = False
    """Whether blurs and narrow products are sums of slices. A fusing compiler (torch.compile)
    merges these with their neighbours; executed as they are, they would be slow."""
    fold: bool = False
    """Whether blurs are folded into their convolutions: fewer passes over the maps, four times the
    arithmetic there."""
    portable: bool = False
    """Whether ``mimicam::warp_blend`` is the only custom operator, for exporters to runtimes that
    support no other."""
    keep: frozenset[str] = field(default_factory=frozenset)
    """Convolutions that stay in float32, named as in `layer_names`, chosen by measured
    sensitivity."""

    def at(self, name: str) -> Form:
        """Return the form of one convolution."""
        return replace(self, dtype=torch.float32) if name in self.keep else self


def blur(
    x_NCHW: Tensor,
    kernel_C144: Tensor,
    padding: int,
    *,
    gain: float = 1.0,
    stride: int = 1,
    fused: bool = False,
) -> Tensor:
    """Apply ``layers.Blur`` of that gain, keeping every ``stride``-th pixel of both axes."""
    if not fused:
        return F.conv2d(x_NCHW, kernel_C144, stride=stride, padding=padding, groups=x_NCHW.shape[1])
    padded = F.pad(x_NCHW.float(), (padding,) * 4)
    H, W = (n - 3 for n in padded.shape[2:])
    # Separable: four shifted rows, then four shifted columns.
    rows = [_BLUR[i] * padded[:, :, i : i + H : stride] for i in range(4)]
    tall = rows[0] + rows[1] + rows[2] + rows[3]
    columns = [gain * _BLUR[i] * tall[:, :, :, i : i + W : stride] for i in range(4)]
    return (columns[0] + columns[1] + columns[2] + columns[3]).to(x_NCHW.dtype)


class Double(nn.Module):
    """Computes ``add + layers.Upsample(x)`` of three channels, in float32."""

    kernel: Tensor

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._fused, self._portable = form.fused, form.portable
        self.register_buffer("kernel", blur_kernel(4.0).repeat(3, 1, 1, 1))

    def forward(self, x_N3hw: Tensor, add_N3HW: Tensor) -> Tensor:
        if self._fused:
            return add_N3HW + _doubled(_doubled(x_N3hw, 2), 3)
        if self._portable:
            return add_N3HW + F.conv_transpose2d(x_N3hw, self.kernel, stride=2, padding=1, groups=3)
        out: Tensor = torch.ops.mimicam.upsample_blur(x_N3hw.contiguous(), add_N3HW.contiguous())
        return out


def _doubled(x: Tensor, axis: int) -> Tensor:
    """Double one axis: each pixel gives two, from a quarter of a neighbour and three of its own.

    Outside the map, neighbours are zero.
    """
    n = x.shape[axis]
    padded = F.pad(x, (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0))
    before, own, after = (padded.narrow(axis, i, n) for i in range(3))
    pair = torch.stack((0.25 * before + 0.75 * own, 0.75 * own + 0.25 * after), axis + 1)
    return pair.flatten(axis, axis + 1)


def narrow(x_NCHW: Tensor, weight_NOC: Tensor, bias_O11: Tensor, *, fused: bool) -> Tensor:
    """Apply a 1x1 convolution to few channels; returns ``[N, O, H, W]``, contiguous."""
    N, C, H, W = x_NCHW.shape
    bias = bias_O11.reshape(1, -1, 1, 1)
    if fused:
        rows = weight_NOC.unbind(1)
        return torch.stack([(x_NCHW * row[:, :, None, None]).sum(1) for row in rows], 1) + bias
    # A batched product, since cuDNN would round a float32 convolution to TF32.
    out = weight_NOC.expand(N, -1, -1) @ x_NCHW.reshape(N, C, H * W)
    return out.view(N, -1, H, W) + bias


def with_blur(weight: Tensor, *, gain: float = 1.0) -> Tensor:
    """Merge a 3x3 kernel with the blur before or after it into one of 6x6.

    The blur is symmetric, so the order does not matter.
    """
    line = torch.tensor(_BLUR, dtype=torch.float64) * gain**0.5
    kernel = torch.outer(line, line)[None, None]
    A, B, h, w = weight.shape
    full = F.conv2d(weight.double().reshape(A * B, 1, h, w), kernel, padding=3)
    return full.reshape(A, B, h + 3, w + 3).float()


def as_phases(weight_IO66: Tensor) -> Tensor:
    """Convert a transposed 6x6 convolution of stride 2 and padding 2 to a plain 3x3 one.

    The result has four times the channels, which ``pixel_shuffle`` spreads. Output pixel ``2 a +
    r`` reads input ``a + d`` by tap ``r + 2 - 2 d``.
    """
    taps = torch.tensor([[r + 2 - 2 * d for d in (-1, 0, 1)] for r in (0, 1)])
    phases = weight_IO66[:, :, taps][..., taps]  # [I, O, 2, 3, 2, 3]
    I, O = weight_IO66.shape[:2]  # noqa: E741 - the shape letters
    return phases.permute(1, 2, 4, 0, 3, 5).reshape(O * 4, I, 3, 3).contiguous()
