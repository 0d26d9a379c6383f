"""Layers of DAE-GAN's networks: sampling, convolution blocks, adaptive normalisation,
self-attention.

Shape letters: N pictures, C channels, S side, P pose code.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.daegan.config import GROUPS

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
ATTENTION_FLOOR = 1e-3
"""Added to each weight, so that the sum over frames in equation 1 is not zero."""


def sample(
    image_NCSS: Tensor, displacement_N2HW: Tensor, *, between: Literal["bilinear", "bicubic"] = "bilinear"
) -> Tensor:
    """Sample the picture at each pixel's position plus its displacement; edges repeat.

    Args:
        between: interpolation between pixels. Bicubic keeps edges sharper, costs more, and may
            leave the picture's range by some percent.
    """
    # Positions in half precision would be off by up to half a pixel. Autocast leaves them in float32.
    displacement_N2HW = displacement_N2HW.float()
    # Computed, not stored: the size follows the field's, and a trace makes it a constant.
    grid_NHW2 = centres(displacement_N2HW) + displacement_N2HW.permute(0, 2, 3, 1)
    return F.grid_sample(image_NCSS, grid_NHW2, mode=between, padding_mode="border", align_corners=False)


class ConvNorm(nn.Module):
    """3x3 convolution, group normalisation, leaky ReLU; ``stride`` 2 halves the size."""

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, n_out)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x_NCHW)), 0.2)


class BatchRenorm(nn.BatchNorm1d):
    """Batch renormalisation (Ioffe, NeurIPS 2017): in training too, outputs are those of the
    running statistics, while gradients are those of batch normalisation.

    With the statistics of 8 pictures, a code would depend on the other seven by a third of its
    deviation, so that no displacement could be read from it exactly.
    """

    def forward(self, x_NC: Tensor) -> Tensor:
        """Normalise; in training, update the running statistics."""
        if not self.training:
            return super().forward(x_NC)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            deviation = (self.running_var + self.eps).sqrt()
            batch_deviation = (x_NC.var(0, correction=0) + self.eps).sqrt()
            # The limits are the paper's last ones; they only matter in the first steps.
            scale = (batch_deviation / deviation).clamp(1 / 3, 3)
            shift = ((x_NC.mean(0) - self.running_mean) / deviation).clamp(-5, 5)
        return super().forward(x_NC) * scale + shift


class AdaptiveNorm(nn.Module):
    """Adaptive instance normalisation (AdaIN; Huang and Belongie, ICCV 2017).

    Normalises each map, then scales and shifts it by the pose code.

    One shared linear layer, one for the deviations and one for the means (section 3.2).
    """

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.shared = nn.Linear(code, channels)
        self.deviation, self.mean = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x_NCHW: Tensor, code_NP: Tensor) -> Tensor:
        hidden = F.relu(self.shared(code_NP))
        deviation, mean = self.deviation(hidden), self.mean(hidden)
        # Relative to 1, so that a fresh layer hardly changes the normalised map.
        scale, shift = (1 + deviation)[..., None, None], mean[..., None, None]
        out: Tensor = F.instance_norm(x_NCHW) * scale + shift
        return out


class PosedBlock(nn.Module):
    """Residual block whose normalisations follow the pose code; ``up`` doubles the size first."""

    def __init__(self, n_in: int, n_out: int, code: int, *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.norm_1, self.norm_2 = AdaptiveNorm(n_in, code), AdaptiveNorm(n_out, code)
        self.conv_1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x_NCHW: Tensor, code_NP: Tensor) -> Tensor:
        y = F.relu(self.norm_1(x_NCHW, code_NP))
        if self.up:
            # Both paths grow before the convolution.
            x_NCHW, y = double(x_NCHW), double(y)
        y = self.conv_2(F.relu(self.norm_2(self.conv_1(y), code_NP)))
        out: Tensor = y + self.skip(x_NCHW)
        return out


class DownBlock(nn.Module):
    """Residual block with instance normalisation that halves the size."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.conv_1(F.relu(F.instance_norm(x_NCHW)))
        y = self.conv_2(F.relu(F.instance_norm(y)))
        # Pooled once, after the sum, instead of once per path.
        return F.avg_pool2d(y + self.skip(x_NCHW), 2)


class SelfAttention(nn.Module):
    """Self-attention over all positions (Zhang et al., SAGAN, 2018); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # An eighth of the channels for query and key, as in SAGAN.
        inner = max(channels // 8, 1)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        # Starts at 0, so that training adds attention gradually (SAGAN).
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        query, key, value = (layer(x_NCHW).flatten(2) for layer in (self.query, self.key, self.value))
        # ``[N, HW, HW]``: each row weighs all positions for one.
        weight = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended: Tensor = (value @ weight.transpose(1, 2)).reshape(x_NCHW.shape)
        out: Tensor = x_NCHW + self.strength * attended
        return out


def affine_field(terms_N6: Tensor, side: int) -> Tensor:
    """Return the displacement ``[N, 2, side, side]`` whose u and v are each linear in x, y and
    1."""
    N = terms_N6.shape[0]
    grid = centres(terms_N6.new_zeros(1, 2, side, side))[0]
    xy1 = torch.cat([grid, torch.ones_like(grid[..., :1])], -1).reshape(-1, 3)
    return (terms_N6.reshape(N, 2, 3) @ xy1.T).reshape(N, 2, side, side)


def centres(displacement_N2HW: Tensor) -> Tensor:
    """Return each pixel's position, ``[1, H, W, 2]``, so that zero displacement is the identity."""
    H, W = displacement_N2HW.shape[2:]
    like = displacement_N2HW
    # With ``align_corners=False``, pixel centres are odd multiples of 1 / n.
    y, x = ((torch.arange(n, device=like.device, dtype=like.dtype) * 2 + 1) / n - 1 for n in (H, W))
    return torch.stack((x[None, :].expand(H, W), y[:, None].expand(H, W)), -1)[None]


def double(x_NCHW: Tensor) -> Tensor:
    """Double the size, bilinearly (U of equation 2)."""
    return F.interpolate(x_NCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def resized(x_NCHW: Tensor, side: int) -> Tensor:
    """Scale to ``side`` pixels, bilinearly; a map of that size is returned as it is."""
    if x_NCHW.shape[-1] == side:
        return x_NCHW
    return F.interpolate(x_NCHW, size=(side, side), mode="bilinear", align_corners=False)


def quiet(layer: Layer) -> Layer:
    """Initialise near zero: a warp starts as the identity, a residual as zero."""
    nn.init.normal_(layer.weight, std=1e-3)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
