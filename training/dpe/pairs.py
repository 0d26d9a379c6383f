"""Pairs of frames for DPE, with the landmarks that place the face square of equation 10."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.training.data.pairs import Arrays, FramePack, PairSampler, read_ahead, stacked

Batch = dict[str, torch.Tensor]
"""``source`` and ``target``, uint8 ``[N, 3, S, S]``; ``source_landmarks`` and ``target_landmarks``,
float ``[N, 478, 3]`` in crop space."""


Draw = Callable[[np.random.Generator], Arrays]
"""Draws one pair."""
PAIRS = ("random", "mined")
"""Ways to draw pairs, the paper's first."""


class PairBatches:
    """Batches of pairs; the batch of a step is always the same for the same seed."""

    def __init__(self, draw: Draw, *, batch: int, seed: int) -> None:
        self._draw, self._batch, self._seed = draw, batch, seed

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step."""
        # By step: a resumed run draws the batches of an uninterrupted one.
        rng = np.random.default_rng((self._seed, step))
        return stacked([self._draw(rng) for _ in range(self._batch)])

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)


class RandomPairs:
    """Draws two different frames of a clip as they are, as the paper does (section 3.2).

    Clips and frames have equal chances.
    """

    def __init__(self, pack: FramePack, size: int) -> None:
        self._pack, self._size = pack, size
        lengths = np.diff(pack.starts)
        present = np.unique(pack.segment[pack.indices])
        # A clip of one frame has no pair.
        self._clips = present[lengths[present] > 1]
        if not len(self._clips):
            raise EngineError(
                "no clip of this split has two frames: pack more clips, or split them otherwise"
            )

    def __call__(self, rng: np.random.Generator) -> Arrays:
        clip = rng.choice(self._clips)
        low, high = self._pack.starts[clip], self._pack.starts[clip + 1]
        source, target = rng.choice(np.arange(low, high), 2, replace=False)
        return {
            "source": self._picture(source),
            "target": self._picture(target),
            "source_landmarks": self._pack.landmarks[source],
            "target_landmarks": self._pack.landmarks[target],
        }

    def _picture(self, row: int) -> np.ndarray:
        image = np.asarray(self._pack.frames[row])
        if len(image) != self._size:
            # Averaging when it shrinks: bilinear sampling would alias.
            how = cv2.INTER_AREA if self._size < len(image) else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, (self._size, self._size), interpolation=how))
        return np.ascontiguousarray(image.transpose(2, 0, 1))


class MinedPairs:
    """Draws pairs as the compact preset does: frames that differ, augmented and mirrored alike."""

    def __init__(self, pack: FramePack, size: int) -> None:
        self._sampler = PairSampler(pack, size=size, batch=1)

    def __call__(self, rng: np.random.Generator) -> Arrays:
        pair = self._sampler.pair(rng)
        source, target = (place(motion.shape, motion.pose) for motion in pair.motions)
        return {
            "source": pair.source,
            "target": pair.target,
            "source_landmarks": source,
            "target_landmarks": target,
        }


def open_pairs(kind: str, pack: FramePack, size: int) -> Draw:
    """Make what draws pairs, by a name of `PAIRS`.

    Raises:
        EngineError: there is none of this name, or the split has no pair.
    """
    if kind not in PAIRS:
        raise EngineError(f"there are no '{kind}' pairs: choose one of {', '.join(PAIRS)}")
    return RandomPairs(pack, size) if kind == "random" else MinedPairs(pack, size)
