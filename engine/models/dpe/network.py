"""DPE's networks in their published structure (CVPR 2023, section 3.1).

Encoder, motion heads and two flow generators. Pictures are RGB in -1..1, ``[N, 3, size, size]``;
the output is not clamped. Shape letters as in ``layers``. ``features`` are the encoder's maps at 8,
16, ... size pixels, in this order.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mimicam.engine.models.dpe import stylegan2 as layers
from mimicam.engine.models.dpe.config import DpeConfig
from mimicam.engine.models.dpe.stylegan2 import (
    BiasedLeakyReLU,
    Blur,
    EqualConv2d,
    EqualLinear,
    ModulatedConv2d,
    Upsample,
)
from mimicam.engine.types import Mode


class Encoded(NamedTuple):
    """Encoding of a picture: latent (equation 1) and feature maps (equation 4)."""

    latent: Tensor
    """``[N, L]``"""
    features: tuple[Tensor, ...]
    """``[N, C, r, r]`` for r = 8, 16, ... size."""


class Codes(NamedTuple):
    """Motion codes of a latent (equation 2), to be added to another latent to move its face."""

    expression: Tensor
    """``[N, L]``"""
    pose: Tensor
    """``[N, L]``"""


class ConvBlock(nn.Module):
    """Convolution with bias and activation; halving the size adds a blur and stride 2."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, down: bool = False) -> None:
        super().__init__()
        self.blur = Blur(n_in, padding=(kernel + 2) // 2) if down else None
        # Blurring before the stride avoids aliasing; the blur then does the padding.
        padding, stride = (0, 2) if down else (kernel // 2, 1)
        self.conv = EqualConv2d(n_in, n_out, kernel, stride=stride, padding=padding)
        self.activation = BiasedLeakyReLU(n_out)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.blur is not None:
            x_NCHW = self.blur(x_NCHW)
        out: Tensor = self.activation(self.conv(x_NCHW))
        return out


class ResidualBlock(nn.Module):
    """Halves the size: two 3x3 convolutions beside a blurred 1x1 one."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = ConvBlock(n_in, n_in, 3)
        self.second = ConvBlock(n_in, n_out, 3, down=True)
        self.skip_blur = Blur(n_in, padding=1)
        self.skip = EqualConv2d(n_in, n_out, 1, stride=2)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x_NCHW)) + self.skip(self.skip_blur(x_NCHW))
        # Keeps the variance of the sum of two branches.
        return out * (1.0 / math.sqrt(2.0))


class Encoder(nn.Module):
    """Maps a picture to latent and feature maps (E of equation 1)."""

    def __init__(self, config: DpeConfig) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.stem = ConvBlock(3, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in itertools.pairwise(widths))
        self.head = EqualConv2d(widths[-1], config.latent, 4)

    def forward(self, image_NCHW: Tensor) -> Encoded:
        maps = [self.stem(image_NCHW)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        # The 4x4 map feeds the latent only; the generators take the others.
        latent: Tensor = self.head(maps.pop()).flatten(1)
        return Encoded(latent, tuple(reversed(maps)))


class MotionHeads(nn.Module):
    """Maps a latent to expression and pose code (equation 2). All layers are linear."""

    def __init__(self, config: DpeConfig) -> None:
        super().__init__()
        L = config.latent
        self.trunk = nn.ModuleList(
            [EqualLinear(L, L) for _ in range(4)] + [EqualLinear(L, config.directions)]
        )
        self.directions = nn.Parameter(torch.randn(L, config.directions))
        self.expression = nn.ModuleList(EqualLinear(L, L) for _ in range(3))
        self.pose = nn.ModuleList(EqualLinear(L, L) for _ in range(3))

    def basis(self) -> Tensor:
        """Return the directions as orthonormal columns, ``[L, directions]``."""
        # The published code adds 1e-8 before QR.
        basis: Tensor = torch.linalg.qr(self.directions + 1e-8).Q
        return basis

    def amounts(self, latent_NL: Tensor) -> Tensor:
        """Return the amount of motion along each direction, ``[N, directions]``."""
        for layer in self.trunk:
            latent_NL = layer(latent_NL)
        return latent_NL

    def motion(self, latent_NL: Tensor) -> Tensor:
        """Return the motion vector that both heads read, ``[N, L]``."""
        motion: Tensor = self.amounts(latent_NL) @ self.basis().T
        return motion

    def forward(self, latent_NL: Tensor) -> Codes:
        expression = pose = self.motion(latent_NL)
        for layer in self.expression:
            expression = layer(expression)
        for layer in self.pose:
            pose = layer(pose)
        return Codes(expression, pose)


class StyledConv(nn.Module):
    """A modulated 3x3 convolution with bias and activation; ``up`` doubles the size."""

    def __init__(self, n_in: int, n_out: int, latent: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(n_in, n_out, 3, latent, up=up)
        self.activation = BiasedLeakyReLU(n_out)

    def forward(self, x_NCHW: Tensor, latent_NL: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv(x_NCHW, latent_NL))
        return out


class FlowLayer(nn.Module):
    """Maps an activation to two offsets and a mask, before tanh and sigmoid: ``[N, 3, H, W]``."""

    def __init__(self, n_in: int, latent: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(n_in, 3, 1, latent, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.upsample = Upsample(3)

    def forward(self, x_NCHW: Tensor, latent_NL: Tensor, coarser: Tensor | None) -> Tensor:
        # Offsets and mask add up from coarse to fine.
        out: Tensor = self.conv(x_NCHW, latent_NL) + self.bias[:, None, None]
        return out if coarser is None else out + self.upsample(coarser)


class PictureLayer(nn.Module):
    """Maps warped features to their part of the picture, added to the coarser level's."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.conv = ConvBlock(n_in, 3, 1)
        self.bias = nn.Parameter(torch.zeros(3))
        self.upsample = Upsample(3)

    def forward(self, warped_NCHW: Tensor, coarser: Tensor | None) -> Tensor:
        out: Tensor = self.conv(warped_NCHW) + self.bias[:, None, None]
        return out if coarser is None else out + self.upsample(coarser)


class GeneratorState(NamedTuple):
    """State between two levels: activation, flow and picture, all of one size."""

    activation: Tensor
    flow: Tensor | None
    picture: Tensor | None


class GeneratorLevel(nn.Module):
    """One resolution: upsample, refine, flow, warp of the source's features, picture."""

    grid: Tensor

    def __init__(self, n_in: int, n_out: int, latent: int, size: int) -> None:
        super().__init__()
        self.up = StyledConv(n_in, n_out, latent, up=True)
        self.refine = StyledConv(n_out, n_out, latent)
        self.flow = FlowLayer(n_out, latent)
        self.picture = PictureLayer(n_out)
        self.register_buffer("grid", layers.sampling_grid(size), persistent=False)

    def forward(self, state: GeneratorState, feature_NCHW: Tensor, latent_NL: Tensor) -> GeneratorState:
        x = self.refine(self.up(state.activation, latent_NL), latent_NL)
        flow = self.flow(x, latent_NL, state.flow)
        grid_NHW2 = self.grid + torch.tanh(flow[:, :2]).permute(0, 2, 3, 1)
        mask = torch.sigmoid(flow[:, 2:])
        # The mask blends warped source features (1) and generated activation (0).
        warped = layers.warp(feature_NCHW, grid_NHW2) * mask
        return GeneratorState(warped + x * (1 - mask), flow, self.picture(warped, state.picture))


class Generator(nn.Module):
    """Maps edited latent and source features to a picture (G of equation 5)."""

    def __init__(self, config: DpeConfig) -> None:
        super().__init__()
        L = config.latent
        self.constant = nn.Parameter(torch.randn(1, config.channels[0], 4, 4))
        self.start = StyledConv(config.channels[0], config.channels[0], L)
        self.levels = nn.ModuleList(
            GeneratorLevel(a, b, L, size)
            for (a, b), size in zip(itertools.pairwise(config.channels), config.resolutions, strict=True)
        )

    def forward(self, latent_NL: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        # The learned input is the same for all pictures.
        constant = self.constant.expand(latent_NL.shape[0], -1, -1, -1)
        state = GeneratorState(self.start(constant, latent_NL), None, None)
        for level, feature in zip(self.levels, features, strict=True):
            state = level(state, feature, latent_NL)
        assert state.picture is not None
        return state.picture


class Dpe(nn.Module):
    """All networks of DPE: one encoder, two motion heads, two generators."""

    def __init__(self, config: DpeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.motion = MotionHeads(config)
        self.expression_generator = Generator(config)
        self.pose_generator = Generator(config)

    def encode(self, image_NCHW: Tensor) -> Encoded:
        """Return latent and feature maps of pictures ``[N, 3, size, size]``."""
        encoded: Encoded = self.encoder(image_NCHW)
        return encoded

    def codes(self, latent_NL: Tensor) -> Codes:
        """Return expression and pose code of latents (equation 2)."""
        codes: Codes = self.motion(latent_NL)
        return codes

    def generate_expression(self, latent_NL: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Return the picture of a latent with an expression code added (equation 5, G_e)."""
        picture: Tensor = self.expression_generator(latent_NL, features)
        return picture

    def generate_pose(self, latent_NL: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Return the picture of a latent with a pose code added (equation 5, G_p)."""
        picture: Tensor = self.pose_generator(latent_NL, features)
        return picture

    def transfer(self, source: Encoded, codes: Codes, mode: Mode) -> Tensor:
        """Add codes to an encoded source and generate; mode ``both`` chains equations 6 and 7."""
        if mode is Mode.POSE:
            return self.generate_pose(source.latent + codes.pose, source.features)
        picture = self.generate_expression(source.latent + codes.expression, source.features)
        if mode is Mode.EXP:
            return picture
        # The pose generator gets the encoding of the expression's result.
        return self.transfer(self.encode(picture), codes, Mode.POSE)

    def edit(self, source_NCHW: Tensor, driving_NCHW: Tensor, mode: Mode | str) -> Tensor:
        """Return the source with the driver's expression, pose, or both, ``[N, 3, size, size]``.

        Raises:
            ValueError: ``mode`` is none of ``exp``, ``pose``, ``both``.
        """
        codes = self.codes(self.encode(driving_NCHW).latent)
        return self.transfer(self.encode(source_NCHW), codes, Mode(mode))

    def forward(self, source_NCHW: Tensor, driving_NCHW: Tensor) -> Tensor:
        """Run ``edit`` with mode ``both``."""
        return self.edit(source_NCHW, driving_NCHW, Mode.BOTH)
