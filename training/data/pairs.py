"""Pairs of frames of one person from a pack, augmented alike, as the arrays a compact model trains
on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.face.expression_filter import expression_displacement
from mimicam.engine.face.geometry import canonical_shape, face_geometry, head_pose, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.models.compact.conditioning import Conditioning, build_conditioning
from mimicam.engine.models.compact.edit import edit_pose
from mimicam.engine.models.compact.spec import CONDITIONING
from mimicam.engine.types import MotionCode
from mimicam.training.data.augmentation import Augmentation, warped
from mimicam.training.data.geometry import mirrored_blendshapes, pose_rows

T = TypeVar("T")
Batch = dict[str, torch.Tensor]
Arrays = dict[str, np.ndarray]
Motions = tuple[MotionCode, MotionCode]
"""Motion of a pair's source, and of its target."""

TRAINED = tuple(name for name in CONDITIONING if name != "source_shows_teeth")
"""Inputs of the generator that a batch holds. The mouth is drawn after the networks, so it is not
trained."""
CROSS = "cross_"
"""Prefix of the names that `cross_identity_drives` adds to a batch."""

_RARE = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")
PAIR_WEIGHTS = np.array([1.0 if name in _RARE else 0.25 for name in BLENDSHAPE_NAMES], np.float32)
"""Weight of each blendshape's difference when pairs are chosen. Blinks and open mouths are rare, so
they count more."""


FAR_PAIR_CANDIDATES = 5
FAR_PAIR_PROBABILITY = 0.7
"""Probability of choosing the most different of the candidate pairs; otherwise the first is
taken."""
SAME_POSE_PROBABILITY = 0.5
"""Probability of preferring two expressions at one pose, in packs that have them."""
SAME_POSE_BONUS = 1e3
"""Score added to such a pair; larger than any difference."""
EXPRESSION_ONLY_PROBABILITY = 0.6
"""Probability that a cross-identity driver lends the expression only, not the head pose."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Source and target of a pair, after augmentation."""

    source: np.ndarray
    """uint8 ``[3, size, size]``"""
    target: np.ndarray
    motions: Motions


class FramePack:
    """A pack: memory-mapped frames, and what the tracker read of them."""

    def __init__(self, folder: Path, *, validation: bool) -> None:
        # Mapped: packs are larger than the memory of a small machine.
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        self.segments = json.loads((folder / "segments.json").read_text())
        with np.load(folder / "track.npz") as track:
            self.landmarks = track["landmarks"]
            self.blendshapes = track["blendshapes"]
            self.segment = track["segment"]
            group = track["pose_group"] if "pose_group" in track else np.arange(len(self.segment))
            is_synthetic = track["made"] if "made" in track else np.zeros(len(self.segment), bool)
        self.is_synthetic = is_synthetic
        self.pose_row, self.target_row = pose_rows(group), target_rows(self.segment, is_synthetic)
        # The split is by segment, whose person has it.
        wanted = np.array([bool(s["validation"]) is validation for s in self.segments])
        self.indices = np.flatnonzero(wanted[self.segment])
        counts = np.bincount(self.segment, minlength=len(self.segments))
        self.starts = np.concatenate([[0], np.cumsum(counts)])


class PairSampler:
    """Draws batches of training pairs; one generator state per step, so that a step can be drawn
    again."""

    def __init__(
        self,
        pack: FramePack,
        *,
        size: int,
        batch: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        cross_identity: int = 0,
    ) -> None:
        """Args:
        cross_identity: number of portraits per batch that also get another person's motion; see
            `cross_identity_drives`.
        """
        self._pack, self._size, self._batch, self._seed = pack, size, batch, seed
        self._cross_identity = cross_identity
        self._augmentation = augmentation or Augmentation()
        self._mirror_points = face_geometry().mirror
        self._mirror_shapes = mirrored_blendshapes()
        self._segment_weights = self._weights()

    def _weights(self) -> np.ndarray:
        """Weight segments by the square root of their length: long clips count more, but less than
        more people do."""
        present = np.unique(self._pack.segment[self._pack.indices])
        lengths = np.diff(self._pack.starts)
        weights = np.zeros(len(lengths))
        weights[present] = np.sqrt(lengths[present]) * (lengths[present] > 1)
        if not weights.any():
            raise EngineError(
                "no person of this split has two frames in one clip: pack more clips, or split them otherwise"
            )
        return weights / weights.sum()

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step: always the same for the same seed."""
        rng = np.random.default_rng((self._seed, step))
        drawn = [self._sample(rng) for _ in range(self._batch)]
        batch = stacked([arrays for arrays, _ in drawn])
        if self._cross_identity:
            motions = [motion for _, motion in drawn]
            batch |= cross_identity_drives(motions, self._cross_identity, rng, map_px=self._size // 2)
        return batch

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)

    def pair(self, rng: np.random.Generator) -> Pair:
        """Draw a pair: a clip, two frames of it that differ, and one augmentation of both."""
        segment = rng.choice(len(self._segment_weights), p=self._segment_weights)
        low, high = self._pack.starts[segment], self._pack.starts[segment + 1]
        source, target = self._far_pair(rng, low, high)
        matrix = self._augmentation.matrix(rng)
        mirror = bool(rng.random() < 0.5)
        (image_s, motion_s), (image_d, motion_d) = (self._frame(i, matrix, mirror) for i in (source, target))
        image_s, image_d = (
            image.transpose(2, 0, 1) for image in self._augmentation.recolour(rng, image_s, image_d)
        )
        return Pair(source=image_s, target=image_d, motions=(motion_s, motion_d))

    def _sample(self, rng: np.random.Generator) -> tuple[Arrays, Motions]:
        pair = self.pair(rng)
        motion_s, motion_d = pair.motions
        # Half of the pairs move as live use does; the others by the true shape, which is exact.
        drawn = motion_d if rng.random() < 0.5 else _by_expression(motion_s, motion_d)
        drive = build_conditioning(motion_s, drawn, map_px=self._size // 2)
        arrays = _trained(drive)
        # The target's own landmarks in any case: the loss compares with what the picture shows.
        truth = place(motion_d.shape, motion_d.pose)
        pictures = {"source": pair.source, "target": pair.target}
        return {**pictures, "target_landmarks": truth, **arrays}, (motion_s, motion_d)

    def _far_pair(self, rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
        """Draw candidates and choose the one that differs most in expression and pose: equal frames
        teach nothing.

        Half of the time two expressions of one pose win, where the pack has them.
        """
        draws = rng.integers(low, high, (FAR_PAIR_CANDIDATES, 2))
        b, landmarks = self._pack.blendshapes, self._pack.landmarks
        # Every 20th landmark: the choice of a pair needs no more, and is made in each sample.
        distance = np.array(
            [
                (np.abs(b[i] - b[j]) * PAIR_WEIGHTS).sum()
                + np.abs(landmarks[i, ::20] - landmarks[j, ::20]).mean() * 5
                for i, j in draws
            ]
        )
        pose = self._pack.pose_row[draws]
        alike = (draws[:, 0] != draws[:, 1]) & (pose[:, 0] == pose[:, 1])
        prefer_far = rng.random() < FAR_PAIR_PROBABILITY
        prefer_same_pose = rng.random() < SAME_POSE_PROBABILITY
        # With neither, all scores are 0 and argmax takes the first pair.
        score = prefer_far * distance + prefer_same_pose * SAME_POSE_BONUS * alike
        source, target = draws[int(np.argmax(score))]
        target_row = self._pack.target_row[target]
        return int(target if source == target_row else source), int(target_row)

    def _frame(self, index: int, matrix: np.ndarray, mirror: bool) -> tuple[np.ndarray, MotionCode]:
        image, blendshapes = self._pack.frames[index], self._pack.blendshapes[index]
        if mirror:
            image, blendshapes = image[:, ::-1], blendshapes[self._mirror_shapes]
        landmarks = self._landmarks(index, matrix, mirror)
        # Frames of one pose group share a head pose; see `pose_rows`.
        pose = head_pose(self._landmarks(int(self._pack.pose_row[index]), matrix, mirror))
        picture = warped(image, matrix, self._size)
        shape = canonical_shape(landmarks, pose)
        return picture, MotionCode(expression=blendshapes, pose=pose, shape=shape)

    def _landmarks(self, index: int, matrix: np.ndarray, mirror: bool) -> np.ndarray:
        """Move the landmarks ``[478, 3]`` as the picture is moved."""
        landmarks = self._pack.landmarks[index]
        if mirror:
            landmarks = landmarks[self._mirror_points] * np.array([-1, 1, 1], np.float32)
        moved = np.empty_like(landmarks)
        moved[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        # Depth scales with the picture: the square root of the determinant is the scale.
        moved[:, 2] = landmarks[:, 2] * np.sqrt(np.linalg.det(matrix[:, :2]))
        return moved


def _trained(drive: Conditioning) -> Arrays:
    conditioning = drive.tensors()
    return {name: conditioning[name] for name in TRAINED}


def cross_identity_drives(
    motions: Sequence[Motions], count: int, rng: np.random.Generator, *, map_px: int
) -> Batch:
    """Drive the first ``count`` sources by the next pair's target: by another person, as in live
    use.

    There is no true picture, but it is known where the landmarks must be found.

    Returns:
        The arrays of `engine.models.compact.conditioning.Conditioning`, their names prefixed with
        `CROSS`, and
            ``cross_landmarks``
        ``[count, 478, 3]``.
    """
    drawn = []
    for number in range(count):
        source, driver = motions[number][0], motions[(number + 1) % len(motions)][1]
        target = _by_expression(source, driver)
        pose = (
            source.pose
            if rng.random() < EXPRESSION_ONLY_PROBABILITY
            else edit_pose(source.pose, driver.pose, None, 1.0)
        )
        target = replace(target, pose=pose)
        arrays = _trained(build_conditioning(source, target, map_px=map_px))
        drawn.append({**arrays, "landmarks": place(target.shape, target.pose)})
    return {CROSS + name: value for name, value in stacked(drawn).items()}


def target_rows(segment: np.ndarray, is_synthetic: np.ndarray) -> np.ndarray:
    """Return the row that replaces each row as a target, int ``[N]``.

    A real picture is its own target. A synthetic one is replaced by its segment's first real
    picture: synthetic pictures are good enough as sources, but as targets the networks would learn
    their faults.
    """
    rows = np.arange(len(segment))
    for number in np.unique(segment[is_synthetic]):
        own = segment == number
        if (real := rows[own & ~is_synthetic]).size:
            rows[own & is_synthetic] = real[0]
    return rows


class Sampler(Protocol):
    """Draws the batch of a step."""

    def batch(self, step: int) -> Batch:
        """Draw it: always the same for the same seed."""


class Mixture:
    """Concatenates the batches of several samplers, the first sampler's samples first."""

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self._samplers = samplers

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step: always the same for the same seeds."""
        parts = [sampler.batch(step) for sampler in self._samplers]
        return {key: torch.cat([part[key] for part in parts if key in part]) for key in parts[0]}

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)


def shares_of_batch(
    batch: int, packs: Sequence[tuple[Path | None, float]]
) -> tuple[int, list[tuple[Path, int]]]:
    """Split a batch: return the number of samples left for the clips, and that of each other pack.

    Args:
        packs: folder and share (0 to 1) of each; None is a pack that was not given. One whose share
            rounds to no sample is left out.

    Raises:
        EngineError: nothing is left for the clips.
    """
    # Whole samples, so that every step has the same mixture.
    counts = [(pack, round(batch * share)) for pack, share in packs if pack is not None]
    others = [(pack, count) for pack, count in counts if count]
    left = batch - sum(count for _, count in others)
    if left < 1:
        raise EngineError("the shares of the other packs leave no clips in a batch: lower them")
    return left, others


def read_ahead(draw: Callable[[int], T], first_step: int, *, ahead: int = 2) -> Iterator[T]:
    """Yield ``draw(step)`` from ``first_step`` on; a thread draws some steps ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(draw, first_step + i) for i in range(ahead)]
        step = first_step + ahead
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(draw, step))
            step += 1


def stacked(samples: Sequence[Arrays]) -> Batch:
    """Stack the arrays of several pairs, by name."""
    return {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in samples[0]}


def _by_expression(source: MotionCode, target: MotionCode) -> MotionCode:
    """Return the target as the live path knows it: the source's shape, moved by the displacement
    that was read."""
    return replace(target, shape=source.shape + expression_displacement(target, source))
