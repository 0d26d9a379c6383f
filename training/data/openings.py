"""Maps of openings for training batches, drawn by the functions that the live path uses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.face.geometry import place
from mimicam.engine.models.compact.conditioning import paint_opening_masks
from mimicam.engine.models.compact.rasterise import MaskRasteriser
from mimicam.engine.models.compact.teeth import paint_teeth
from mimicam.engine.types import Float, MotionCode

_PAINTERS = 4
"""Threads that draw at most: most of the work is OpenCV's, which lets others run, but its calls are short."""


class OpeningsPainter:
    """Draws the maps of openings of a batch on the CPU, in a few threads, and brings them to the device."""

    def __init__(self, batch: int, side: int, device: torch.device) -> None:
        """Take memory for ``[batch, 6, side, side]``, pinned where the device is a GPU."""
        pinned = device.type == "cuda"
        self._device = device
        self._maps = torch.zeros(batch, 6, side, side, pin_memory=pinned)
        workers = min(_PAINTERS, usable_cores())
        self._pool, self._canvases = (
            ThreadPoolExecutor(workers),
            [MaskRasteriser(side) for _ in range(workers)],
        )

    def __call__(self, source: Sequence[MotionCode], target: Sequence[MotionCode]) -> Tensor:
        """``[B, 6, side, side]`` on the device; see `engine.models.compact.conditioning.Conditioning`.

        On a GPU the copy is queued on the current stream. Whoever calls again has copied the next batch's codes to the host
        on that stream, and so waited for it: the pinned memory is free again.
        """
        pairs, maps = list(zip(source, target, strict=True)), self._maps.numpy()
        count = len(self._canvases)

        def paint(worker: int) -> None:
            for row in range(worker, len(pairs), count):
                paint_maps(*pairs[row], canvas=self._canvases[worker], out=maps[row])

        list(self._pool.map(paint, range(count)))
        moved = self._maps.to(self._device, non_blocking=True)
        return moved.clone() if moved is self._maps else moved


def paint_maps(source: MotionCode, target: MotionCode, *, canvas: MaskRasteriser, out: Float) -> None:
    """Draw the maps of `build_conditioning` alone, ``[6, side, side]``, without the mouth: six times as fast."""
    paint_opening_masks(place(target.shape, target.pose), canvas=canvas, out=out[:2])
    paint_opening_masks(place(source.shape, source.pose), canvas=canvas, out=out[2:4])
    paint_teeth(target, out[0], canvas=canvas, out=out[4:])
