"""Parts of the mixed-precision networks: precision forms, blurs, upsampling, narrow products."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mimicam.kernels.torch_ops  # noqa: F401 - registers the operators
from mimicam.engine.models.dpe import stylegan2 as layers
from mimicam.engine.models.dpe.stylegan2 import blur_kernel
from mimicam.kernels.blur import LINE, reference


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


class Blur(nn.Module):
    """``layers.Blur``, keeping every ``stride``-th pixel of both axes."""

    kernel: Tensor

    def __init__(self, published: layers.Blur, form: Form, *, stride: int = 1) -> None:
        super().__init__()
        self._fused, self._portable = form.fused, form.portable
        self._padding, self._gain, self._stride = published.padding, published.gain, stride
        self.register_buffer("kernel", published.kernel.to(form.dtype))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self._fused:
            return reference(x_NCHW, padding=self._padding, gain=self._gain, stride=self._stride)
        if self._portable:
            groups = x_NCHW.shape[1]
            return F.conv2d(x_NCHW, self.kernel, stride=self._stride, padding=self._padding, groups=groups)
        out: Tensor = torch.ops.mimicam.blur(x_NCHW, self._padding, self._gain, self._stride)
        return out


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
        # One kernel: zero insertion, blur and sum without the map in between.
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
    # The gain's root on each axis: the outer product then has the gain itself.
    line = torch.tensor(LINE, dtype=torch.float64) * gain**0.5
    kernel = torch.outer(line, line)[None, None]
    A, B, h, w = weight.shape
    # In float64, rounded once: this runs when a model is loaded, not in a frame.
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
