"""Pairs of frames for DPE, with the landmarks that place the face square of equation 10."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mimicam.engine.face.geometry import place
from mimicam.training.data.pairs import PairSampler, read_ahead, stacked

Batch = dict[str, torch.Tensor]
"""``source`` and ``target``, uint8 ``[N, 3, S, S]``; ``source_landmarks`` and ``target_landmarks``, float
``[N, 478, 3]`` in crop space."""


class MinedPairs:
    """Draws pairs as the compact preset does: frames that differ, augmented."""

    def __init__(self, sampler: PairSampler, *, batch: int, seed: int) -> None:
        self._sampler, self._batch, self._seed = sampler, batch, seed

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step: always the same for the same seed."""
        rng = np.random.default_rng((self._seed, step))
        pairs = [self._sampler.pair(rng) for _ in range(self._batch)]
        return stacked(
            [
                {
                    "source": pair.source,
                    "target": pair.target,
                    "source_landmarks": place(pair.motions[0].shape, pair.motions[0].pose),
                    "target_landmarks": place(pair.motions[1].shape, pair.motions[1].pose),
                }
                for pair in pairs
            ]
        )

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)
