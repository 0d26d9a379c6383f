"""Samples that the face embedder is trained on: several frames of a video, and another one as
target."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Videos(Protocol):
    """The part of ``training.data.pairs.FramePack`` that is read."""

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """Return the frames ``[F, H, W, 3]``, RGB."""

    @property
    def segment(self) -> npt.NDArray[Any]:
        """Return the segment of each frame, ``[F]``. No segment contains a jump cut."""

    @property
    def indices(self) -> npt.NDArray[Any]:
        """Return the numbers of the frames that may be drawn."""


class VideoSampler:
    """Draws batches ``frames`` ``[N, K, 3, S, S]`` and ``target`` ``[N, 3, S, S]``, uint8, a
    function of the step.

    The K + 1 frames of a sample are drawn from one segment, without repetition where it is long
    enough, and mirrored all or none.
    """

    def __init__(self, videos: Videos, *, size: int, frames: int, batch: int, seed: int = 0) -> None:
        self._videos, self._size, self._count, self._batch, self._seed = videos, size, frames, batch, seed
        of_segment = videos.segment[videos.indices]
        self._segments = [videos.indices[of_segment == s] for s in np.unique(of_segment)]
        if not self._segments:
            raise ValueError("videos must hold at least one frame that may be drawn")

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step."""
        rng = np.random.default_rng((self._seed, step))
        drawn = torch.from_numpy(np.stack([self._sample(rng) for _ in range(self._batch)]))
        return {"frames": drawn[:, :-1].contiguous(), "target": drawn[:, -1].contiguous()}

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield batches from ``first_step`` on; a thread draws one ahead."""
        with ThreadPoolExecutor(1) as pool:
            # One batch is drawn while the step before it trains.
            step, waiting = first_step, pool.submit(self.batch, first_step)
            while True:
                step += 1
                ready, waiting = waiting.result(), pool.submit(self.batch, step)
                yield ready

    def _sample(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        segment = self._segments[rng.integers(len(self._segments))]
        wanted = self._count + 1
        # Short segments repeat frames rather than being left out.
        chosen = rng.choice(segment, wanted, replace=len(segment) < wanted)
        mirror = rng.random() < 0.5
        pictures = [self._picture(int(index), mirror=bool(mirror)) for index in chosen]
        return np.stack(pictures)

    def _picture(self, index: int, *, mirror: bool) -> npt.NDArray[np.uint8]:
        image = np.ascontiguousarray(self._videos.frames[index])
        if image.shape[0] != self._size:
            image = cv2.resize(image, (self._size, self._size), interpolation=cv2.INTER_AREA)
        if mirror:
            image = image[:, ::-1]
        return image.transpose(2, 0, 1)
