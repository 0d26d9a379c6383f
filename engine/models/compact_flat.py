"""The compact preset as the two networks that run: flat inputs and outputs, and in half precision where that is safe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.models.compact import Compact

OUTPUTS = ("painted", "mask", "flow")
"""Of the generator, in order; see `engine.models.compact.Generator.layers`."""


class CompactEncoder(nn.Module):
    """Picture to latent and maps, as a flat tuple."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        latent, maps = self.encoder(image)
        return (latent, *maps)


class CompactGenerator(nn.Module):
    """A portrait's arrays, then a drive's, in their order, to the layers of a picture; see `OUTPUTS`."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.codes, self.generator = model.codes, model.generator

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *maps, source, target, affine, head, expression, pose, openings, teeth = rest
        latent = self.codes(latent, expression, pose)
        out = self.generator.layers(latent, maps, source, target, affine, head, openings, teeth)
        return tuple(out[name] for name in OUTPUTS)


class HalfCompactGenerator(nn.Module):
    """`CompactGenerator` with its convolutions in half precision; codes, flow and mask stay float32.

    The model says itself what must not be rounded (`engine.models.compact.warp`), as in training under autocast.
    """

    def __init__(self, model: Compact, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self._whole, self._dtype = CompactGenerator(model), dtype
        for layer in self._whole.generator.modules():
            if isinstance(layer, nn.Conv2d):
                layer.to(dtype)  # now, not anew for each frame

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        # Nothing cached: a captured graph would keep reading a cast that is gone.
        with torch.autocast(latent.device.type, self._dtype, cache_enabled=False):
            layers = self._whole(latent, *rest)
        return tuple(layer.float() for layer in layers)
