"""Compositing of a tracker-driven model's warp fields on a GPU (`kernels.warp_composite`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mimicam.engine.backends.cuda.device import Download, Gpu
from mimicam.engine.backends.cuda.networks import copy_all
from mimicam.engine.stages.surroundings import PortraitTexture

if TYPE_CHECKING:
    from torch import Tensor


class LayeredSurface:
    """Holds a portrait's pixels in device memory of fixed address, and downloads the result."""

    def __init__(self, gpu: Gpu, texture: PortraitTexture) -> None:
        """Allocate memory for textures of this size."""
        import torch

        self._gpu, self._key = gpu, (texture.texture.shape, texture.size)
        self._texture = gpu.empty((1, *texture.texture.shape), torch.uint8)
        self._numbers = gpu.empty((1, texture.numbers().size), torch.float32)
        width, height = texture.size
        self._background = gpu.empty((1, height, width, 3), torch.uint8)
        self.result = Download(gpu, gpu.empty((1, height, width, 3), torch.uint8))
        self.show(texture)

    def fits(self, texture: PortraitTexture) -> bool:
        """Whether a texture has this size."""
        return self._key == (texture.texture.shape, texture.size)

    def show(self, texture: PortraitTexture) -> None:
        """Upload another portrait's texture. Call this between frames only."""
        import torch

        # Under an opaque texture nothing of the background shows.
        background = texture.canvas if texture.background is None else texture.background
        values = (texture.texture[None], background[None], texture.numbers()[None])
        targets = (self._texture, self._background, self._numbers)
        pairs = zip(targets, map(torch.from_numpy, values), strict=True)
        copy_all(self._gpu, list(pairs))
        self._gpu.record_event()()

    def put_together(self, outputs: Mapping[str, Tensor], mouth_14SS: Tensor) -> None:
        """Queue the compositing of one frame.

        Args:
            outputs: the generator's, see `engine.models.compact.spec.generator_spec`.
            mouth_14SS: see `engine.models.compact.mouth.LAYERS`.
        """
        from mimicam.kernels.warp_composite import warp_composite

        inpaint, visibility, flow = (
            outputs[name].float().contiguous() for name in ("inpaint", "visibility", "flow")
        )
        # The mouth's colours are premultiplied by its opacity, the fourth channel.
        covered = inpaint * (1 - mouth_14SS[:, 3:]) + mouth_14SS[:, :3]
        inputs = (self._texture, self._background, covered, visibility, flow, self._numbers)
        warp_composite(*inputs, out=self.result.source)
