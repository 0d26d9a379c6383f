"""Compositing of a tracker-driven model's warp fields on a GPU (`kernels.layers`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda_gpu import Download, Gpu
from mimicam.engine.backends.gpu_networks import copy_all
from mimicam.engine.stages.surroundings import PortraitTexture

if TYPE_CHECKING:
    from torch import Tensor

    from mimicam.kernels._pixels import Pixels


class LayeredSurface:
    """Holds a portrait's pixels in device memory of fixed address, and downloads the result."""

    def __init__(self, gpu: Gpu, texture: PortraitTexture, pixels: Pixels = "rgb") -> None:
        """Allocate for textures of this size; ``pixels``: pixel format of the result."""
        import torch

        self._gpu, self._pixels, self._key = gpu, pixels, (texture.texture.shape, texture.size)
        self._texture = gpu.empty((1, *texture.texture.shape), torch.uint8)
        self._numbers = gpu.empty((1, texture.numbers().size), torch.float32)
        width, height = texture.size
        shape = (1, height, width, 3) if pixels in ("rgb", "bgr") else (1, height * 3 // 2, width)
        self.result = Download(gpu, gpu.empty(shape, torch.uint8))
        self.show(texture)

    def fits(self, texture: PortraitTexture) -> bool:
        """Whether a texture has this size."""
        return self._key == (texture.texture.shape, texture.size)

    def show(self, texture: PortraitTexture) -> None:
        """Upload another portrait's texture. Call this between frames only."""
        import torch

        values = (np.ascontiguousarray(texture.texture[None]), texture.numbers()[None])
        pairs = zip((self._texture, self._numbers), map(torch.from_numpy, values), strict=True)
        copy_all(self._gpu, list(pairs))
        self._gpu.mark()()

    def put_together(self, outputs: Mapping[str, Tensor], mouth_14SS: Tensor) -> None:
        """Queue the compositing of one frame.

        Args:
            outputs: the generator's, see `engine.models.compact.spec.generator_spec`.
            mouth_14SS: see `engine.models.compact.mouth.LAYERS`.
        """
        from mimicam.kernels.layers import layers

        painted, mask, flow = (outputs[name].float().contiguous() for name in ("painted", "mask", "flow"))
        # The mouth's colours are premultiplied by its opacity, the fourth channel.
        covered = painted * (1 - mouth_14SS[:, 3:]) + mouth_14SS[:, :3]
        inputs = (self._texture, covered, mask, flow, self._numbers)
        layers(*inputs, out=self.result.source, pixels=self._pixels)
