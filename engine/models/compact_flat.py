"""The compact preset as the two networks that run: flat inputs and outputs, and in half precision where that is safe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.models.compact import Compact


class CompactEncoder(nn.Module):
    """Picture to latent and maps, as a flat tuple."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        latent, maps = self.encoder(image)
        return (latent, *maps)


class CompactGenerator(nn.Module):
    """A portrait's arrays, then a drive's, in their order, to a picture ``[1, 3, S, S]`` in -1..1."""

    def __init__(self, model: Compact) -> None:
        super().__init__()
        self.codes, self.generator = model.codes, model.generator

    def forward(self, latent: Tensor, image: Tensor, *rest: Tensor) -> Tensor:
        *maps, source, target, affine, head, expression, pose, openings = rest
        latent = self.codes(latent, expression, pose)
        points = (source, target, affine, head)
        picture: Tensor = self.generator(latent, image, maps, *points, openings)["image"]
        return picture


class HalfCompactGenerator(nn.Module):
    """`CompactGenerator` with its convolutions in half precision; codes, flow and the picture's blend stay float32.

    The model says itself what must not be rounded (`engine.models.compact.warp`), as in training under autocast.
    """

    def __init__(self, model: Compact, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.codes, self.generator, self._dtype = model.codes, model.generator, dtype
        for layer in self.generator.modules():
            if isinstance(layer, nn.Conv2d):
                layer.to(dtype)  # now, not anew for each frame

    def forward(self, latent: Tensor, image: Tensor, *rest: Tensor) -> Tensor:
        *maps, source, target, affine, head, expression, pose, openings = rest
        latent = self.codes(latent, expression, pose)
        points = (source, target, affine, head)
        # Nothing cached: a captured graph would keep reading a cast that is gone.
        with torch.autocast(image.device.type, self._dtype, cache_enabled=False):
            picture: Tensor = self.generator(latent, image, maps, *points, openings)["image"]
        return picture.float()
