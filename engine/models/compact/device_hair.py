"""`engine.models.compact.rigid_hair.HairWarp` on a device, as part of a captured frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import Gpu, Upload
from mimicam.engine.models.compact.rigid_hair import CELLS, NUMBERS
from mimicam.engine.types import Float

if TYPE_CHECKING:
    from torch import Tensor


class DeviceHair:
    """Holds the motion of one frame's hair at a fixed address, and applies it."""

    def __init__(self, gpu: Gpu, size: int) -> None:
        """Allocate the memory; ``size`` is S, the side of the generator's picture."""
        import torch

        h = size // 2
        # Pixel centres, which lie half a pixel inside of -1..1.
        axis = (np.arange(h, dtype=np.float32) + 0.5) * (2 / h) - 1
        self._upload = Upload(gpu, gpu.empty((CELLS * CELLS + NUMBERS,), torch.float32))
        self._weight = self._upload.target[: CELLS * CELLS].view(1, 1, CELLS, CELLS)
        self._numbers = self._upload.target[CELLS * CELLS :]
        self._places = gpu.empty((1, 2, h, h), torch.float32)
        places = torch.from_numpy(np.stack(np.meshgrid(axis, axis))[None])

        def work() -> None:
            self._places.copy_(places)

        gpu.on_stream(work)
        gpu.record_event()()

    def write(self, packed: Float | None) -> None:
        """Set the next frame's motion, see `HairMotion.packed`; None: the flow stays as it is."""
        if packed is None:
            # Weights of 0: a captured frame has no branch for portraits without hair of their own.
            self._upload.host[:] = 0
        else:
            np.copyto(self._upload.host, packed)

    def enqueue(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queue the upload, and return the generator's outputs with the motion of hair."""
        import torch
        from torch.nn.functional import interpolate

        self._upload.enqueue()
        flow, visible, places = outputs["flow"].float(), outputs["visibility"].float(), self._places
        matrix, (row, rate) = self._numbers[:6].view(1, 2, 3), self._numbers[6:].unbind()
        wide = interpolate(self._weight, size=flow.shape[-2:], mode="bilinear", align_corners=False)
        above = (row - (places[:, 1:] + flow[:, 1:])) * rate
        weight = wide * above.clamp(0, 1)
        # In full float32: as a product of matrices it would run in TF32.
        terms = matrix[:, :, :2, None, None] * places[:, None]
        moved = terms.sum(dim=2) + matrix[:, :, 2, None, None]
        shown = interpolate(weight, size=visible.shape[-2:], mode="bilinear", align_corners=False)
        flow = flow + weight * (moved - places - flow)
        return {**outputs, "flow": flow, "visibility": torch.maximum(visible, shown)}
