"""Opening masks (lips, lids, teeth) of training batches, drawn by the functions of the live
path."""

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
"""Largest number of drawing threads. OpenCV releases the interpreter lock, but its calls here are
short."""


class OpeningsPainter:
    """Draws the opening masks of a batch on the CPU, in a few threads, and copies them to the
    device."""

    def __init__(self, batch: int, side: int, device: torch.device) -> None:
        """Allocate ``[batch, 6, side, side]``, pinned if the device is a GPU."""
        pinned = device.type == "cuda"
        self._device = device
        self._maps = torch.zeros(batch, 6, side, side, pin_memory=pinned)
        workers = min(_PAINTERS, usable_cores())
        self._pool, self._canvases = (
            ThreadPoolExecutor(workers),
            [MaskRasteriser(side) for _ in range(workers)],
        )

    def __call__(self, source: Sequence[MotionCode], target: Sequence[MotionCode]) -> Tensor:
        """Draw ``[B, 6, side, side]`` on the device; see `engine.models.compact.conditioning.Conditioning`.

        On a GPU the copy is queued on the current stream. The caller copies the next batch's codes
        to the host on the same stream before the next call, which waits for this copy: the pinned
        memory is then free again.
        """
        pairs, maps = list(zip(source, target, strict=True)), self._maps.numpy()
        count = len(self._canvases)

        def paint(worker: int) -> None:
            # Rows are dealt out in turn, since all take about the same time.
            for row in range(worker, len(pairs), count):
                paint_maps(*pairs[row], canvas=self._canvases[worker], out=maps[row])

        list(self._pool.map(paint, range(count)))
        moved = self._maps.to(self._device, non_blocking=True)
        # On the CPU `to` returns the buffer itself, which the next call overwrites.
        return moved.clone() if moved is self._maps else moved


def paint_maps(source: MotionCode, target: MotionCode, *, canvas: MaskRasteriser, out: Float) -> None:
    """Draw the masks of `engine.models.compact.conditioning.build_conditioning`, ``[6, side, side]``, without its mouth
    (six times as fast)."""
    paint_opening_masks(place(target.shape, target.pose), canvas=canvas, out=out[:2])
    paint_opening_masks(place(source.shape, source.pose), canvas=canvas, out=out[2:4])
    paint_teeth(target, out[0], canvas=canvas, out=out[4:])
