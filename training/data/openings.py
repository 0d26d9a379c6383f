"""Opening masks (lips, lids, teeth) of training batches, equal to those of the live path. Only lips
that an edit makes overlap are drawn otherwise there.

The points of a whole batch are placed at once. Each outline is filled as in the live path, but
cleared and averaged only where it lies. The maps travel to the device as bytes, and the lips cut the
teeth off there.

Shape letters: B batch, F = 2 B faces, targets first; K landmarks, R = 2 rows of T teeth, P points of
an outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.face.landmarks import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.models.compact.lips import inner_outline
from mimicam.engine.models.compact.rasterise import MaskRasteriser
from mimicam.engine.models.compact.teeth import UPPER_LIP, batch_teeth_points
from mimicam.engine.types import Float
from mimicam.training.data.device_motions import Motions

_LANDMARKS = [*INNER_LIPS, *RIGHT_LIDS, *LEFT_LIDS, UPPER_LIP]
_LIDS = len(INNER_LIPS)
"""Where both lids begin among `_LANDMARKS`; their outlines are equally long."""


class OpeningsPainter:
    """Draws the opening masks of a batch on the CPU, and finishes them on the device."""

    def __init__(self, batch: int, side: int, device: torch.device) -> None:
        """Allocate bytes ``[batch, 6, side, side]``, pinned if the device is a GPU."""
        pinned = device.type == "cuda"
        self._device = device
        # Bytes, as the fill writes them: a quarter of what float32 would cost to copy.
        self._maps = torch.zeros(batch, 6, side, side, dtype=torch.uint8, pin_memory=pinned)
        self._canvas = MaskRasteriser(side)
        self._landmarks = torch.tensor(_LANDMARKS, device=device)

    def __call__(self, source: Motions, target: Motions) -> Tensor:
        """Draw ``[B, 6, side, side]`` on the device; see `engine.models.compact.conditioning.Conditioning`.

        On a GPU the copy is queued on the current stream. Reading the motions waits for that
        stream, so also for the copy of the batch before: the pinned memory is free again.
        """
        faces = _Faces.read(source, target, self._landmarks)
        self._maps.zero_()
        _paint(faces, self._canvas, self._maps.numpy())
        openings = self._maps.to(self._device, non_blocking=True).float().mul_(1 / 255)
        lips, upper, lower = openings[:, 0], openings[:, 4], openings[:, 5]
        # The upper row covers the lower one, and the lips cover both.
        lower.mul_(1 - upper).mul_(lips)
        upper.mul_(lips)
        return openings


@dataclass(frozen=True, kw_only=True)
class _Faces:
    """Parts of the faces that outlines need, on the CPU."""

    rotation: Float
    """``[F, 3, 3]``"""
    translation: Float
    """``[F, 2]``"""
    scale: Float
    """``[F]``"""
    shape: Float
    """``[F, K, 3]``: `_LANDMARKS`"""
    expression: Float
    """``[F, 52]``"""

    @classmethod
    def read(cls, source: Motions, target: Motions, landmarks: Tensor) -> _Faces:
        """Copy the motions from the device: one copy, one wait."""
        parts = [
            torch.cat([first, second]).flatten(1)
            for first, second in (
                (target.rotation, source.rotation),
                (target.translation, source.translation),
                (target.scale[:, None], source.scale[:, None]),
                (target.shape[:, landmarks], source.shape[:, landmarks]),
                (target.expression, source.expression),
            )
        ]
        rows = torch.cat(parts, dim=1).cpu().numpy()
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        rotation, translation, scale, shape, expression = np.split(rows, ends, axis=1)
        return cls(
            rotation=rotation.reshape(-1, 3, 3),
            translation=translation,
            scale=scale[:, 0],
            shape=shape.reshape(len(rows), -1, 3),
            expression=expression,
        )

    def place(self, points_NP3: Float) -> Float:
        """Place points of the first faces; see `engine.face.geometry.place`."""
        count = len(points_NP3)
        turn = self.rotation[:count].swapaxes(1, 2) * self.scale[:count, None, None]
        out: Float = points_NP3 @ turn
        out[..., :2] += self.translation[:count, None]
        return out

    def teeth(self) -> Float:
        """Place the targets' teeth, ``[B, R, T, P, 3]``."""
        count = len(self.shape) // 2
        rows = np.stack(batch_teeth_points(self.shape[:count, -1], self.expression[:count]), axis=1)
        return self.place(rows.reshape(count, -1, 3)).reshape(rows.shape)


def _paint(faces: _Faces, canvas: MaskRasteriser, maps_B6SS: np.ndarray) -> None:
    """Fill bytes with the outlines; teeth are not cut off by the lips yet."""
    count = len(maps_B6SS)
    # Without the last landmark, the upper lip, which places teeth and has no outline.
    points = faces.place(faces.shape)[:, :-1, :2]
    lips = canvas.points(inner_outline(points[:, :_LIDS]))
    lids = canvas.points(points[:, _LIDS:]).reshape(2 * count, 2, -1, 2)
    lip_boxes, lid_boxes = canvas.boxes(lips), canvas.boxes(lids.reshape(2 * count, -1, 2)).tolist()
    for face, box in enumerate(lip_boxes.tolist()):
        # Targets come first: maps 0 and 1 are the target's lips and lids, 2 and 3 the source's.
        maps = maps_B6SS[face % count, 2 * (face // count) :]
        canvas.fill([lips[face]])
        canvas.take(box, maps[0])
        canvas.fill(list(lids[face]))
        canvas.take(lid_boxes[face], maps[1])
    _paint_teeth(canvas.points(faces.teeth()), lip_boxes[:count], canvas, maps_B6SS[:, 4:])


def _paint_teeth(
    teeth_BRTP2: np.ndarray, lips_B4: np.ndarray, canvas: MaskRasteriser, maps_BRSS: np.ndarray
) -> None:
    """Fill the teeth that lie in the boxes of the lips."""
    boxes = canvas.boxes(teeth_BRTP2)
    lips = lips_B4[:, None, None]
    # Most mouths of a batch are closed, and teeth that miss the lips' box need no filling.
    meets = (boxes[..., :2] < lips[..., 2:]) & (lips[..., :2] < boxes[..., 2:])
    shown = meets[..., 0] & meets[..., 1]
    around = np.concatenate([boxes[..., :2].min(axis=2), boxes[..., 2:].max(axis=2)], axis=-1).tolist()
    for face, row in np.argwhere(shown.any(axis=2)).tolist():
        for tooth in teeth_BRTP2[face, row][shown[face, row]]:
            canvas.fill_convex(tooth)
        canvas.take(around[face][row], maps_BRSS[face, row])
