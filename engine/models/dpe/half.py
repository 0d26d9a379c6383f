"""Folded DPE in mixed precision for a GPU: feature maps in half, pixel positions in float32.

In float32 it equals ``folded``. All modulations of a generator are one product with the latent, and
all demodulations another: 35 small products would cost more in launches than in arithmetic. The
flow layer is ``kernels.warp_blend``, as the operator ``mimicam::warp_blend``, which a tracer
records as one node. Shape letters as in ``layers``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.dpe import network as dpe
from mimicam.engine.models.dpe.folded import (
    FoldedConv,
    FoldedDpe,
    FoldedEncoder,
    FoldedFlow,
    FoldedGenerator,
    FoldedLevel,
    FoldedModulation,
    FoldedPicture,
    FoldedResidualBlock,
    FoldedStyledConv,
)
from mimicam.engine.models.dpe.half_parts import Blur, Double, Form, as_phases, narrow, with_blur
from mimicam.engine.models.dpe.stylegan2 import DEMODULATION_EPSILON, GAIN, SLOPE


class MixedConv(nn.Module):
    """``FoldedConv`` in one precision form."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: FoldedConv, form: Form) -> None:
        super().__init__()
        self._dtype, self._stride, self._padding = form.dtype, conv.stride, conv.padding
        self.blur: Blur | None = None
        weight = conv.weight
        if conv.blur is not None and form.fold:
            # The merged 6x6 kernel takes over the blur's padding.
            weight, self._padding = with_blur(weight), conv.blur.padding
        elif conv.blur is not None:
            self.blur = Blur(conv.blur, form)
        self.register_buffer("weight", weight.to(form.dtype))
        self.register_buffer("bias", conv.bias.to(form.dtype))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = x_NCHW.to(self._dtype)
        if self.blur is not None:
            x_NCHW = self.blur(x_NCHW)
        x_NCHW = F.conv2d(x_NCHW, self.weight, self.bias, stride=self._stride, padding=self._padding)
        return F.leaky_relu(x_NCHW, SLOPE)


class MixedResidualBlock(nn.Module):
    """``FoldedResidualBlock`` whose skip blurs only the pixels that the stride keeps."""

    skip: Tensor

    def __init__(self, block: FoldedResidualBlock, form: Form, name: str) -> None:
        super().__init__()
        self.first = MixedConv(block.first, form.at(f"{name}.first"))
        self.second = MixedConv(block.second, form.at(f"{name}.second"))
        skip = form.at(f"{name}.skip")
        self._dtype, self.skip_blur = skip.dtype, Blur(block.skip_blur, skip, stride=2)
        self.register_buffer("skip", block.skip.to(skip.dtype))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        kept = self.skip_blur(x_NCHW.to(self._dtype))
        return self.second(self.first(x_NCHW)) + F.conv2d(kept, self.skip)


class MixedEncoder(nn.Module):
    """``FoldedEncoder`` with latent and codes in float32, maps in half precision."""

    head: Tensor

    def __init__(self, encoder: FoldedEncoder, form: Form) -> None:
        super().__init__()
        self._dtype = form.dtype
        self.stem = MixedConv(encoder.stem, form.at("stem"))
        self.blocks = nn.ModuleList(
            MixedResidualBlock(block, form, f"blocks.{i}")  # type: ignore[arg-type]
            for i, block in enumerate(encoder.blocks)
        )
        # As a matrix, for the product in `forward`.
        self.register_buffer("head", encoder.head.flatten(1).float())
        self.motion = encoder.motion

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        maps = [self.stem(image_NCHW.to(self._dtype))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        # [N, C, 4, 4] against a 4x4 kernel is one product. In float32, since all codes derive from
        # it.
        latent = F.linear(maps.pop().float().flatten(1), self.head)
        return (latent, *self.motion(latent), *(m.to(self._dtype) for m in reversed(maps)))


class MixedMotionEncoder(nn.Module):
    """Maps a picture to expression and pose code."""

    def __init__(self, encoder: FoldedEncoder, form: Form) -> None:
        super().__init__()
        self.encoder = MixedEncoder(encoder, form)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        _, expression, pose, *_ = self.encoder(image_NCHW)
        return expression, pose


class MixedStyledConv(nn.Module):
    """``FoldedStyledConv`` whose modulation and demodulation scales are inputs."""

    weight: Tensor
    bias: Tensor

    def __init__(self, styled: FoldedStyledConv, form: Form) -> None:
        super().__init__()
        self._dtype, self._phases = form.dtype, styled.blur is not None and form.fold
        self.blur: Blur | None = None
        weight = styled.weight
        if styled.blur is not None and form.fold:
            # One plain convolution whose output channels are the four pixels of each doubled one.
            weight = as_phases(with_blur(weight, gain=styled.blur.gain))
        elif styled.blur is not None:
            self.blur = Blur(styled.blur, form)
        self.register_buffer("weight", weight.to(form.dtype))
        self.register_buffer("bias", styled.bias.to(form.dtype))

    def forward(self, x_NCHW: Tensor, style_NI: Tensor, scale_NO: Tensor) -> Tensor:
        # Modulate the input channels, convolve with constant weights, demodulate the output
        # channels.
        x_NCHW = x_NCHW.to(self._dtype) * style_NI.to(self._dtype)[:, :, None, None]
        if self.blur is not None:
            x_NCHW = self.blur(F.conv_transpose2d(x_NCHW, self.weight, stride=2))
        else:
            x_NCHW = F.conv2d(x_NCHW, self.weight, padding=1)
            if self._phases:
                x_NCHW = F.pixel_shuffle(x_NCHW, 2)
        return F.leaky_relu(x_NCHW * scale_NO.to(self._dtype)[:, :, None, None] + self.bias, SLOPE)


class MixedFlow(nn.Module):
    """``FoldedFlow`` in float32, since its output determines pixel positions."""

    weight: Tensor
    bias: Tensor

    def __init__(self, flow: FoldedFlow, form: Form) -> None:
        super().__init__()
        self._fused, self._double = form.fused, Double(form)
        self.register_buffer("weight", flow.weight.flatten(1).float())
        self.register_buffer("bias", flow.bias.float())

    def forward(self, x_NCHW: Tensor, style_NI: Tensor, coarser: Tensor | None) -> Tensor:
        flow = narrow(x_NCHW.float(), self.weight * style_NI[:, None, :], self.bias, fused=self._fused)
        return flow if coarser is None else self._double(coarser, flow)


class MixedPicture(nn.Module):
    """``FoldedPicture``: projects the map to three channels and sums in float32."""

    weight: Tensor
    inner: Tensor
    bias: Tensor

    def __init__(self, picture: FoldedPicture, form: Form) -> None:
        super().__init__()
        self._fused, self._double = form.fused, Double(form)
        self.register_buffer("weight", picture.conv.weight.flatten(1).float()[None])
        self.register_buffer("inner", picture.conv.bias.float())
        self.register_buffer("bias", picture.bias.float())

    def forward(self, warped_NCHW: Tensor, coarser: Tensor | None) -> Tensor:
        raw = narrow(warped_NCHW.float(), self.weight, self.inner, fused=self._fused)
        out = F.leaky_relu(raw, SLOPE) + self.bias
        return out if coarser is None else self._double(coarser, out)


class MixedLevel(nn.Module):
    """``FoldedLevel`` with the flow layer as one operator."""

    def __init__(self, level: FoldedLevel, form: Form, name: str) -> None:
        super().__init__()
        self._dtype = form.dtype
        self.up = MixedStyledConv(level.up, form.at(f"{name}.up"))
        self.refine = MixedStyledConv(level.refine, form.at(f"{name}.refine"))
        self.flow, self.picture = MixedFlow(level.flow, form), MixedPicture(level.picture, form)

    def forward(
        self, state: dpe.GeneratorState, feature_NCHW: Tensor, styles: list[Tensor], scales: list[Tensor]
    ) -> dpe.GeneratorState:
        x = self.up(state.activation, styles[0], scales[0])
        x = self.refine(x, styles[1], scales[1]).to(self._dtype)
        flow = self.flow(x, styles[2], state.flow)
        # Offsets, mask, warp and blend in one operator.
        warped, blended = torch.ops.mimicam.warp_blend(feature_NCHW.to(self._dtype), x, flow)
        return dpe.GeneratorState(blended, flow, self.picture(warped, state.picture))


class MixedGenerator(nn.Module):
    """``FoldedGenerator``: latent in float32, maps in half, picture in float32."""

    constant: Tensor

    def __init__(self, generator: FoldedGenerator, form: Form) -> None:
        super().__init__()
        self.register_buffer("constant", generator.constant.to(form.dtype))
        self.start = MixedStyledConv(generator.start, form.at("start"))
        levels: list[FoldedLevel] = list(generator.levels)  # type: ignore[arg-type]
        self.levels = nn.ModuleList(MixedLevel(level, form, f"levels.{i}") for i, level in enumerate(levels))
        styled = [generator.start, *(conv for level in levels for conv in (level.up, level.refine))]
        self.scales = _Scales(styled, [level.flow for level in levels])

    def forward(self, latent_NL: Tensor, *features: Tensor) -> Tensor:
        styles, flows, scales = self.scales(latent_NL.float())
        constant = self.constant.expand(latent_NL.shape[0], -1, -1, -1)
        state = dpe.GeneratorState(self.start(constant, styles[0], scales[0]), None, None)
        for i, (level, feature) in enumerate(zip(self.levels, features, strict=True)):
            # Each level has two styled convolutions, after the one of the start.
            pair = slice(1 + 2 * i, 3 + 2 * i)
            state = level(state, feature, [*styles[pair], flows[i]], scales[pair])
        assert state.picture is not None
        return state.picture


class _Scales(nn.Module):
    """All layers' modulations and demodulations at once, each padded to the widest layer."""

    weight: Tensor
    bias: Tensor
    power: Tensor

    def __init__(self, styled: list[FoldedStyledConv], flows: list[FoldedFlow]) -> None:
        super().__init__()
        modulations: list[FoldedModulation] = [m.modulation for m in (*styled, *flows)]  # type: ignore[misc]
        powers: list[Tensor] = [layer.power for layer in styled]
        # Real widths, by which `forward` cuts the padding off again.
        self._inputs = [int(m.weight.shape[0]) for m in modulations]
        self._outputs = [int(power.shape[1]) for power in powers]
        self._widest = widest = max(*self._inputs, *self._outputs)
        # Padding makes one matrix of all layers; `forward` cuts the padded outputs off.
        weights = [
            F.pad(m.weight, (0, 0, 0, widest - n)) for m, n in zip(modulations, self._inputs, strict=True)
        ]
        biases = [F.pad(m.bias, (0, widest - n)) for m, n in zip(modulations, self._inputs, strict=True)]
        padded = [F.pad(p, (0, widest - int(p.shape[1]), 0, widest - int(p.shape[0]))) for p in powers]
        self.register_buffer("weight", torch.cat(weights).float())
        self.register_buffer("bias", torch.cat(biases).float())
        self.register_buffer("power", torch.stack(padded).float())

    def forward(self, latent_NL: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the scales of all layers.

        First those of the input channels of styled layers, then of flow layers, then those of the
        output channels of styled layers.
        """
        N, count = latent_NL.shape[0], len(self._outputs)
        every = F.linear(latent_NL, self.weight, self.bias).view(N, len(self._inputs), self._widest)
        # Demodulation: sum of the squared modulated weights per output channel, as in StyleGAN2.
        power_KNC = torch.bmm(every[:, :count].transpose(0, 1).square(), self.power)
        out = torch.rsqrt(power_KNC + DEMODULATION_EPSILON) * GAIN
        styles = [every[:, k, :n] for k, n in enumerate(self._inputs)]
        return styles[:count], styles[count:], [out[k, :, :n] for k, n in enumerate(self._outputs)]


class MixedDpe(nn.Module):
    """The four networks in one precision form, named as in ``FoldedDpe``."""

    def __init__(self, folded: FoldedDpe, form: Form) -> None:
        super().__init__()
        self.config, self.form = folded.config, form
        with torch.no_grad():
            self.encoder = MixedEncoder(folded.encoder, form)
            self.motion_encoder = MixedMotionEncoder(folded.encoder, form)
            self.expression_generator = MixedGenerator(folded.expression_generator, form)
            self.pose_generator = MixedGenerator(folded.pose_generator, form)
        self.requires_grad_(False)
        self.eval()


def layer_names(network: nn.Module) -> list[str]:
    """Return the convolutions of a folded network that can run in half, as in ``Form.keep``."""
    if isinstance(network, FoldedGenerator):
        levels = range(len(network.levels))
        return ["start", *(f"levels.{i}.{part}" for i in levels for part in ("up", "refine"))]
    encoder = network if isinstance(network, FoldedEncoder) else network.get_submodule("encoder")
    blocks = range(len(encoder.get_submodule("blocks")))  # type: ignore[arg-type]
    return ["stem", *(f"blocks.{i}.{part}" for i in blocks for part in ("first", "second", "skip"))]


def mixed(network: nn.Module, form: Form) -> nn.Module:
    """Return one folded network in a precision form.

    Raises:
        ValueError: ``network`` is not one of ``FoldedDpe``'s.
    """
    if isinstance(network, FoldedGenerator):
        return MixedGenerator(network, form)
    if isinstance(network, FoldedEncoder):
        return MixedEncoder(network, form)
    if isinstance(getattr(network, "encoder", None), FoldedEncoder):
        return MixedMotionEncoder(network.get_submodule("encoder"), form)  # type: ignore[arg-type]
    raise ValueError(f"network must be one of a folded DPE's, got {type(network).__name__}")
