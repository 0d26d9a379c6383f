"""Samples that the face embedder is trained on: several frames of a video, and another one as
target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimicam.training.daegan.guidance import FacePoints
from mimicam.training.data.augmentation import Augmentation, warped
from mimicam.training.data.pairs import FAR_PAIR_CANDIDATES, FAR_PAIR_PROBABILITY, PAIR_WEIGHTS

Batch = dict[str, Tensor]
Pictures = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]
_STILL: Matrix = np.eye(2, 3, dtype=np.float32)
JITTER = Augmentation(roll_deg=10.0, scale=(0.88, 1.12), shift=0.06)
"""Movement of each frame alone, as far as a head moves in its box without turning."""


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
    enough, and mirrored all or none. Segments weigh as the square root of their length.
    """

    def __init__(
        self,
        videos: Videos,
        *,
        size: int,
        frames: int,
        batch: int,
        seed: int = 0,
        fewest: int | None = None,
        augmentation: Augmentation | None = None,
        jitter: Augmentation | None = None,
        points: FacePoints | None = None,
        expressions: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Args:
        frames: K.
        fewest: K is drawn for each batch from ``fewest`` to ``frames``. None is always ``frames``.
        augmentation: one similarity and one change of light for all frames of a sample. Then a
        batch
            also has ``driver``: the target in another light, for the pose embedder, whose code
            would otherwise carry the target's colours.
        jitter: beside ``augmentation``, one more similarity for each frame alone: movement of the
            head in the picture's plane, of which clips have little.
        points: landmarks of all frames. Then a batch also has ``frame_points`` ``[N, K, L, 2]``,
            ``target_points`` and ``resting`` ``[N, L, 2]``, and ``expressions`` ``[N, K + 1, E]``;
            see `training.daegan.guidance.Points`.
        expressions: blendshapes of all frames, ``[F, 52]``. Then targets whose expression is far
            from the frames' are drawn more often, as `training.data.pairs` does.
        """
        self._videos, self._size, self._most, self._batch, self._seed = videos, size, frames, batch, seed
        self._fewest = frames if fewest is None else fewest
        self._augmentation, self._jitter, self._points = augmentation, jitter, points
        self._expressions = expressions
        of_segment = videos.segment[videos.indices]
        self._segments = [videos.indices[of_segment == s] for s in np.unique(of_segment)]
        if not self._segments:
            raise ValueError("videos must hold at least one frame that may be drawn")
        # The square root: a long clip of one person must not outweigh many short ones.
        weights = np.sqrt([len(segment) for segment in self._segments])
        self._weights = weights / weights.sum()

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step."""
        # Seeded by the step, so that a resumed run draws what an uninterrupted one would have.
        rng = np.random.default_rng((self._seed, step))
        # One count a batch: pictures of different counts could not be stacked.
        count = int(rng.integers(self._fewest, self._most + 1))
        drawn = [self._sample(rng, count) for _ in range(self._batch)]
        return {name: torch.from_numpy(np.stack([each[name] for each in drawn])) for name in drawn[0]}

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield batches from ``first_step`` on; a thread draws one ahead."""
        with ThreadPoolExecutor(1) as pool:
            # One batch is drawn while the step before it trains.
            step, waiting = first_step, pool.submit(self.batch, first_step)
            while True:
                step += 1
                ready, waiting = waiting.result(), pool.submit(self.batch, step)
                yield ready

    def _sample(self, rng: np.random.Generator, count: int) -> Arrays:
        wanted = count + 1
        chosen = self._chosen(rng, wanted)
        # All frames of a sample alike: a person's two sides differ.
        mirror = bool(rng.random() < 0.5)
        pictures = [self._picture(index, mirror=mirror) for index in chosen]
        if self._augmentation is None:
            return _named(pictures) | self._landmarks(chosen, [_STILL] * wanted, mirror=mirror)
        # Shared by all pictures of a sample; jitter then moves each of them alone.
        shared = self._augmentation.matrix(rng)
        matrices = [
            shared if self._jitter is None else _after(self._jitter.matrix(rng), shared) for _ in pictures
        ]
        pictures = [warped(p, matrix, self._size) for p, matrix in zip(pictures, matrices, strict=True)]
        # In a light of its own, or the pose code would carry the target's colours.
        (driver,) = self._augmentation.recolour(rng, pictures[-1])
        shown = _named(self._augmentation.recolour(rng, *pictures))
        return shown | {"driver": _channels_first(driver)} | self._landmarks(chosen, matrices, mirror=mirror)

    def _chosen(self, rng: np.random.Generator, wanted: int) -> list[int]:
        """Draw the frames of a sample; the last one is the target."""
        if self._expressions is None or rng.random() >= FAR_PAIR_PROBABILITY:
            return self._of_a_segment(rng, wanted)
        # Blinks and open mouths are rare in clips, and a generator paints them badly if it hardly
        # sees them.
        draws = [self._of_a_segment(rng, wanted) for _ in range(FAR_PAIR_CANDIDATES)]
        return max(draws, key=self._far)

    def _far(self, chosen: Sequence[int]) -> float:
        """Return how far the target's expression is from the frames' mean."""
        assert self._expressions is not None
        *frames, target = self._expressions[list(chosen)]
        return float((np.abs(target - np.mean(frames, axis=0)) * PAIR_WEIGHTS).sum())

    def _of_a_segment(self, rng: np.random.Generator, wanted: int) -> list[int]:
        segment = self._segments[rng.choice(len(self._segments), p=self._weights)]
        # Short segments repeat frames rather than being left out.
        return [int(index) for index in rng.choice(segment, wanted, replace=len(segment) < wanted)]

    def _landmarks(self, chosen: Sequence[int], matrices: Sequence[Matrix], *, mirror: bool) -> Arrays:
        """Return the landmarks, moved as the pictures are; nothing without points."""
        if self._points is None:
            return {}
        *frames, target = (
            self._points.of(index, matrix, mirror=mirror)
            for index, matrix in zip(chosen, matrices, strict=True)
        )
        resting = self._points.resting_of(chosen[-1], mirror=mirror)
        expressions = [self._points.expression_of(index, mirror=mirror) for index in chosen]
        points = {"frame_points": np.stack(frames), "target_points": target, "resting": resting}
        return points | {"expressions": np.stack(expressions)}

    def _picture(self, index: int, *, mirror: bool) -> Pictures:
        image: Pictures = np.ascontiguousarray(self._videos.frames[index])
        if image.shape[0] != self._size:
            image = cv2.resize(image, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return image[:, ::-1] if mirror else image


def _after(second: Matrix, first: Matrix) -> Matrix:
    """Return the similarity ``[2, 3]`` that applies ``first``, then ``second``."""
    joined: Matrix = np.hstack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]])
    return joined


def _named(pictures: Sequence[Pictures]) -> Arrays:
    *frames, target = map(_channels_first, pictures)
    return {"frames": np.stack(frames), "target": target}


def _channels_first(image_HW3: Pictures) -> Pictures:
    return np.ascontiguousarray(image_HW3.transpose(2, 0, 1))
