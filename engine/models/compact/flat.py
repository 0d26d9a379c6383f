"""Compact networks in the form that runs: flat inputs and outputs, optionally half precision.

Inputs and outputs are those of `engine.models.compact.spec`, in its order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimicam.engine.models.compact.network import Compact
from mimicam.engine.models.compact.spec import FEATURES, generator_spec


class CompactEncoder(nn.Module):
    """Maps a picture to latent and feature maps, as a flat tuple."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        latent, maps = self.encoder(image)
        return (latent, *maps)


class CompactGenerator(nn.Module):
    """Maps a portrait's features and a frame's conditioning to warp fields."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.codes, self.generator = model.codes, model.generator
        self._spec = generator_spec(model.config)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self._spec.input_names, values, strict=True))
        latent, *maps = (named.pop(name) for name in FEATURES)
        latent = self.codes(latent, named.pop("expression"), named.pop("pose"))
        out = self.generator.layers(latent, maps, **named)
        return tuple(out[name] for name in self._spec.output_names)


class PixelGenerator(nn.Module):
    """`CompactGenerator` with outputs laid out as in `engine.types.WarpFields`.

    See `engine.models.compact.spec.pixel_generator_spec`.
    """

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.generator = CompactGenerator(model)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        inpaint, visibility, flow = self.generator(*values)
        pixels = ((inpaint.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8)
        return pixels, visibility, flow.permute(0, 2, 3, 1)


class HalfCompactGenerator(nn.Module):
    """`CompactGenerator` with convolutions in half precision; codes, flow and visibility stay
    float32.

    The network itself excludes what must not be rounded
    (`engine.models.compact.landmark_flow.warp`), as in training under autocast.
    """

    def __init__(self, model: Compact, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self._whole, self._dtype = CompactGenerator(model), dtype
        for layer in self._whole.generator.modules():
            if isinstance(layer, nn.Conv2d):
                layer.to(dtype)  # once, not in each frame

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        # No cache: a captured graph would keep reading a cast that was freed.
        with torch.autocast(latent.device.type, self._dtype, cache_enabled=False):
            layers = self._whole(latent, *rest)
        return tuple(layer.float() for layer in layers)
