"""DPE in the form that runs: everything that depends only on the weights is computed once.

The motion layers become one matrix and one bias per code. Equalized-learning-rate scales and
activation gains go into the weights. Modulated convolutions have constant weights, and grids and
blur kernels are constants. Results equal those of ``dpe.Dpe``. It exports to ONNX for any batch
size, without weights computed at run time. Sampling grids must stay in float32 (in bfloat16
pictures are off by up to 0.3). Shape letters as in ``layers``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.dpe import network as dpe
from mimicam.engine.models.dpe import stylegan2 as layers
from mimicam.engine.models.dpe.stylegan2 import DEMODULATION_EPSILON, GAIN, SLOPE

_HALF = 1.0 / math.sqrt(2.0)


def fold_affine(chain: list[layers.EqualLinear], matrix_OI: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """Return the affine map that applies ``matrix @ x + bias`` and then the chain, in float64."""
    for layer in chain:
        weight = layer.scaled_weight().double()
        matrix_OI, bias_O = weight @ matrix_OI, weight @ bias_O + layer.bias.double()
    return matrix_OI, bias_O


class FoldedMotion(nn.Module):
    """Maps a latent to both codes: one matrix and one bias each (equation 2)."""

    def __init__(self, motion: dpe.MotionHeads) -> None:
        super().__init__()
        L = motion.directions.shape[0]
        identity = torch.eye(L, dtype=torch.float64), torch.zeros(L, dtype=torch.float64)
        # The whole trunk is linear: apply it to the identity to get its matrix and bias.
        matrix, bias = fold_affine(list(motion.trunk), *identity)  # type: ignore[arg-type]
        # Orthogonal motion directions. 1e-8 is the published code's, kept for equal results.
        basis = torch.linalg.qr((motion.directions + 1e-8).double()).Q
        shared = basis @ matrix, basis @ bias
        self.expression = _linear(*fold_affine(list(motion.expression), *shared))  # type: ignore[arg-type]
        self.pose = _linear(*fold_affine(list(motion.pose), *shared))  # type: ignore[arg-type]

    def forward(self, latent_NL: Tensor) -> dpe.Codes:
        return dpe.Codes(self.expression(latent_NL), self.pose(latent_NL))


class FoldedConv(nn.Module):
    """Convolution, bias and leaky ReLU.

    ``gain`` scales the output; it folds into the weights, since leaky ReLU is homogeneous.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, block: dpe.ConvBlock, *, gain: float = 1.0) -> None:
        super().__init__()
        self.blur = block.blur
        self.stride, self.padding = block.conv.stride, block.conv.padding
        # The activation's gain moves before the leaky ReLU, which is homogeneous.
        self.register_buffer("weight", block.conv.scaled_weight() * (GAIN * gain))
        self.register_buffer("bias", block.activation.bias * (GAIN * gain))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.blur is not None:
            x_NCHW = self.blur(x_NCHW)
        x_NCHW = F.conv2d(x_NCHW, self.weight, self.bias, stride=self.stride, padding=self.padding)
        return F.leaky_relu(x_NCHW, SLOPE)


class FoldedResidualBlock(nn.Module):
    """``dpe.ResidualBlock`` with its final division in the weights."""

    skip: Tensor

    def __init__(self, block: dpe.ResidualBlock) -> None:
        super().__init__()
        self.first = FoldedConv(block.first)
        self.second = FoldedConv(block.second, gain=_HALF)
        self.skip_blur = block.skip_blur
        # The block divides its sum by sqrt(2): both terms carry the factor in their weights.
        self.register_buffer("skip", block.skip.scaled_weight() * _HALF)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x_NCHW))
        return out + F.conv2d(self.skip_blur(x_NCHW), self.skip, stride=2)


class FoldedEncoder(nn.Module):
    """Maps a picture to latent, both codes and feature maps: all that a portrait needs.

    Mode ``both`` runs it in every frame, too. Returns ``(latent, expression, pose, feature_8,
    feature_16, ...)``, a flat tuple for ONNX.
    """

    head: Tensor

    def __init__(self, model: dpe.Dpe) -> None:
        super().__init__()
        self.stem = FoldedConv(model.encoder.stem)
        blocks = list(model.encoder.blocks)
        self.blocks = nn.ModuleList(FoldedResidualBlock(b) for b in blocks)  # type: ignore[arg-type]
        self.register_buffer("head", model.encoder.head.scaled_weight().clone())
        self.motion = FoldedMotion(model.motion)

    def maps(self, image_NCHW: Tensor) -> list[Tensor]:
        """Return feature maps from ``size`` pixels down to 4."""
        # Each map feeds the next block and, at the end, the generator's level of its size.
        maps = [self.stem(image_NCHW)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        maps = self.maps(image_NCHW)
        latent = F.conv2d(maps.pop(), self.head).flatten(1)
        # From coarse to fine, as the generators take them.
        return (latent, *self.motion(latent), *reversed(maps))


class FoldedMotionEncoder(nn.Module):
    """Maps a picture to expression and pose code, which is all that a driver's frame needs."""

    def __init__(self, model: dpe.Dpe) -> None:
        super().__init__()
        self.encoder = FoldedEncoder(model)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        _, expression, pose, *_ = self.encoder(image_NCHW)
        return expression, pose


class FoldedModulation(nn.Module):
    """Maps a latent to scales of a modulated convolution's input channels."""

    weight: Tensor
    bias: Tensor

    def __init__(self, linear: layers.EqualLinear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.scaled_weight().clone())
        self.register_buffer("bias", linear.bias.detach().clone())

    def forward(self, latent_NL: Tensor) -> Tensor:
        return F.linear(latent_NL, self.weight, self.bias)


class FoldedStyledConv(nn.Module):
    """``dpe.StyledConv`` with constant weights: scale in, convolve, scale out, leaky ReLU."""

    weight: Tensor
    power: Tensor
    bias: Tensor

    def __init__(self, styled: dpe.StyledConv) -> None:
        super().__init__()
        weight_OIkk = styled.conv.scaled_weight()
        self.blur = styled.conv.blur
        self.modulation = FoldedModulation(styled.conv.modulation)
        stored = weight_OIkk if self.blur is None else weight_OIkk.transpose(0, 1)
        # Transposed convolutions store their weight as [I, O, k, k].
        self.register_buffer("weight", stored.contiguous().clone())
        # ``[I, O]``: squared norms of the kernels, so that demodulation is one product.
        self.register_buffer("power", weight_OIkk.double().square().sum((2, 3)).T.float().contiguous())
        self.register_buffer("bias", (styled.activation.bias * GAIN)[:, None, None])

    def forward(self, x_NCHW: Tensor, latent_NL: Tensor) -> Tensor:
        # Modulate the input channels, convolve, demodulate the output channels.
        style_NI = self.modulation(latent_NL)
        x_NCHW = x_NCHW * style_NI[:, :, None, None]
        if self.blur is None:
            x_NCHW = F.conv2d(x_NCHW, self.weight, padding=1)
        else:
            x_NCHW = self.blur(F.conv_transpose2d(x_NCHW, self.weight, stride=2))
        scale_NO = torch.rsqrt(style_NI.square() @ self.power + DEMODULATION_EPSILON) * GAIN
        return F.leaky_relu(x_NCHW * scale_NO[:, :, None, None] + self.bias, SLOPE)


class FoldedFlow(nn.Module):
    """``dpe.FlowLayer`` with constant weights."""

    weight: Tensor
    bias: Tensor

    def __init__(self, flow: dpe.FlowLayer) -> None:
        super().__init__()
        self.modulation = FoldedModulation(flow.conv.modulation)
        self.upsample = flow.upsample
        self.register_buffer("weight", flow.conv.scaled_weight().clone())
        self.register_buffer("bias", flow.bias.detach().clone())

    def forward(self, x_NCHW: Tensor, latent_NL: Tensor, coarser: Tensor | None) -> Tensor:
        x_NCHW = x_NCHW * self.modulation(latent_NL)[:, :, None, None]
        out = F.conv2d(x_NCHW, self.weight, self.bias)
        return out if coarser is None else out + self.upsample(coarser)


class FoldedPicture(nn.Module):
    """``dpe.PictureLayer`` with constant weights."""

    bias: Tensor

    def __init__(self, picture: dpe.PictureLayer) -> None:
        super().__init__()
        self.conv = FoldedConv(picture.conv)
        self.upsample = picture.upsample
        self.register_buffer("bias", picture.bias.detach().clone()[:, None, None])

    def forward(self, warped_NCHW: Tensor, coarser: Tensor | None) -> Tensor:
        out: Tensor = self.conv(warped_NCHW) + self.bias
        return out if coarser is None else out + self.upsample(coarser)


class FoldedLevel(nn.Module):
    """``dpe.GeneratorLevel`` with constant weights."""

    grid: Tensor

    def __init__(self, level: dpe.GeneratorLevel) -> None:
        super().__init__()
        self.up, self.refine = FoldedStyledConv(level.up), FoldedStyledConv(level.refine)
        self.flow, self.picture = FoldedFlow(level.flow), FoldedPicture(level.picture)
        self.register_buffer("grid", level.grid.clone())

    def forward(
        self, state: dpe.GeneratorState, feature_NCHW: Tensor, latent_NL: Tensor
    ) -> dpe.GeneratorState:
        x = self.refine(self.up(state.activation, latent_NL), latent_NL)
        flow = self.flow(x, latent_NL, state.flow)
        # tanh limits offsets to half the picture's side, in the grid's units of -1..1.
        grid_NHW2 = self.grid + torch.tanh(flow[:, :2]).permute(0, 2, 3, 1)
        mask = torch.sigmoid(flow[:, 2:])
        warped = layers.warp(feature_NCHW, grid_NHW2) * mask
        return dpe.GeneratorState(warped + x * (1 - mask), flow, self.picture(warped, state.picture))


class FoldedGenerator(nn.Module):
    """Maps edited latent and the source's feature maps to a picture, ``[N, 3, size, size]``."""

    constant: Tensor

    def __init__(self, generator: dpe.Generator) -> None:
        super().__init__()
        self.register_buffer("constant", generator.constant.detach().clone())
        self.start = FoldedStyledConv(generator.start)
        self.levels = nn.ModuleList(FoldedLevel(level) for level in generator.levels)  # type: ignore[arg-type]

    def forward(self, latent_NL: Tensor, *features: Tensor) -> Tensor:
        state = dpe.GeneratorState(self.start(self.constant, latent_NL), None, None)
        for level, feature in zip(self.levels, features, strict=True):
            state = level(state, feature, latent_NL)
        assert state.picture is not None
        return state.picture


class FoldedDpe(nn.Module):
    """The networks that run live, made from trained ones. They have constants, no parameters."""

    def __init__(self, model: dpe.Dpe) -> None:
        super().__init__()
        with torch.no_grad():
            self.encoder = FoldedEncoder(model)
            self.motion_encoder = FoldedMotionEncoder(model)
            self.expression_generator = FoldedGenerator(model.expression_generator)
            self.pose_generator = FoldedGenerator(model.pose_generator)
        self.config = model.config
        # All weights are buffers: exporters store them as constants.
        self.requires_grad_(False)
        self.eval()


def _linear(matrix_OI: Tensor, bias_O: Tensor) -> nn.Linear:
    linear = nn.Linear(matrix_OI.shape[1], matrix_OI.shape[0])
    linear.weight.data, linear.bias.data = matrix_OI.float(), bias_O.float()
    return linear
