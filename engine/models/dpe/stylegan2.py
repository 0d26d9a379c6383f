"""Building blocks of the published DPE: StyleGAN2's layers with an equalized learning rate.

Weights are stored with unit variance and scaled at run time (Karras et al., "Progressive Growing of
GANs", section 4.1). Shape letters: N pictures, C channels, H, W pixels, O out, I in, L latent.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Slope of the leaky ReLU (StyleGAN2)."""
GAIN = math.sqrt(2.0)
"""Gain that keeps the variance behind a leaky ReLU (StyleGAN2)."""
DEMODULATION_EPSILON = 1e-8


def blur_kernel(gain: float = 1.0) -> Tensor:
    """Return the [1, 3, 3, 1] smoothing kernel as ``[1, 1, 4, 4]``, summing to ``gain``."""
    # A binomial filter: no frequency at half the sampling rate passes, hence no checkerboards.
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    square = torch.outer(line, line)
    return (square * (gain / square.sum()))[None, None]


class EqualConv2d(nn.Module):
    """Convolution without bias, whose weight is scaled by 1 / sqrt(I * k * k) at run time."""

    weight: nn.Parameter

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel, kernel))
        self.stride, self.padding = stride, padding

    def scaled_weight(self) -> Tensor:
        """Return ``[O, I, k, k]``, the weight that the convolution applies."""
        return self.weight * (1.0 / math.sqrt(self.weight[0].numel()))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.conv2d(x_NCHW, self.scaled_weight(), stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled by 1 / sqrt(I) at run time."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, n_in: int, n_out: int, *, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in))
        self.bias = nn.Parameter(torch.full((n_out,), bias))

    def scaled_weight(self) -> Tensor:
        """Return ``[O, I]``, the weight that the layer applies."""
        return self.weight * (1.0 / math.sqrt(self.weight.shape[1]))

    def forward(self, x_NI: Tensor) -> Tensor:
        return F.linear(x_NI, self.scaled_weight(), self.bias)


class BiasedLeakyReLU(nn.Module):
    """Adds a bias per channel, applies leaky ReLU, and multiplies by sqrt(2)."""

    bias: nn.Parameter

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.leaky_relu(x_NCHW + self.bias[:, None, None], SLOPE) * GAIN


class Blur(nn.Module):
    """Smooths every channel with [1, 3, 3, 1] in both directions."""

    kernel: Tensor

    def __init__(self, channels: int, *, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        self.channels, self.padding, self.gain = channels, padding, gain
        self.register_buffer("kernel", blur_kernel(gain).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.conv2d(x_NCHW, self.kernel, padding=self.padding, groups=self.channels)


class Upsample(nn.Module):
    """Doubles the size: zeros between the pixels, then the blur with gain 4.

    This is one transposed convolution per channel. Its padding of 1 equals padding the zero-filled
    picture by (2, 1).
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("kernel", blur_kernel(4.0).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        # The stride inserts the zeros. The kernel is symmetric, so it needs no flip.
        return F.conv_transpose2d(x_NCHW, self.kernel, stride=2, padding=1, groups=self.channels)


class ModulatedConv2d(nn.Module):
    """StyleGAN2's modulated convolution, with weights that do not depend on the picture.

    The latent scales the input channels before a convolution with constant weights. The
    demodulation scales the output channels after it. This equals modulating the weights, for any
    batch size.
    """

    weight: nn.Parameter

    def __init__(
        self, n_in: int, n_out: int, kernel: int, latent: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel, kernel))
        self.modulation = EqualLinear(latent, n_in, bias=1.0)
        self.demodulate = demodulate
        self.blur = Blur(n_out, padding=1, gain=4.0) if up else None

    def scaled_weight(self) -> Tensor:
        """Return ``[O, I, k, k]``, the weight before modulation."""
        return self.weight * (1.0 / math.sqrt(self.weight[0].numel()))

    def forward(self, x_NCHW: Tensor, latent_NL: Tensor) -> Tensor:
        weight_OIkk = self.scaled_weight()
        style_NI = self.modulation(latent_NL)
        # Scaling the input channels equals scaling the weights' input axis.
        x_NCHW = x_NCHW * style_NI[:, :, None, None]
        if self.blur is None:
            out = F.conv2d(x_NCHW, weight_OIkk, padding=weight_OIkk.shape[-1] // 2)
        else:
            out = self.blur(F.conv_transpose2d(x_NCHW, weight_OIkk.transpose(0, 1), stride=2))
        if not self.demodulate:
            return out
        # Squared norm of each modulated filter, without computing the filter.
        power_NO = style_NI.square() @ weight_OIkk.square().sum((2, 3)).T
        return out * torch.rsqrt(power_NO + DEMODULATION_EPSILON)[:, :, None, None]


def sampling_grid(size: int) -> Tensor:
    """Return positions ``[1, size, size, 2]``, x and y from -1 to 1 inclusive.

    Sampled with ``align_corners=False`` this is not the identity. The published weights were
    trained with it, so it is kept.
    """
    line = torch.linspace(-1.0, 1.0, size)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), -1)[None]


def warp(feature_NCHW: Tensor, grid_NHW2: Tensor) -> Tensor:
    """Sample the feature map bilinearly; zero outside."""
    return F.grid_sample(feature_NCHW, grid_NHW2, mode="bilinear", padding_mode="zeros", align_corners=False)
