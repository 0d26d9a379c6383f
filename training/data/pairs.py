"""Pairs of frames of one person from a pack, augmented alike, as the arrays a compact model trains on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
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
from mimicam.training.data.geometry import mirrored_blendshapes, pose_rows

T = TypeVar("T")
Batch = dict[str, torch.Tensor]
Arrays = dict[str, np.ndarray]
Motions = tuple[MotionCode, MotionCode]
"""Of a pair's source and of its target."""

TRAINED = tuple(name for name in CONDITIONING if name != "own_teeth")
"""Inputs of the generator that a batch holds. Networks learn to do without the mouth that is drawn."""
STRANGER = "stranger_"
"""What the names of `stranger_drives` begin with."""

_RARE = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")
PAIR_WEIGHTS = np.array([1.0 if name in _RARE else 0.25 for name in BLENDSHAPE_NAMES], np.float32)
"""How much a blendshape's difference counts when pairs are chosen: blinks and open mouths are rare and wanted."""


FAR_SHARE = 0.7
"""Of the pairs are chosen for their difference, the others as they fall."""
STILL_SHARE = 0.5
"""Of the pairs of a pack that holds expressions at one pose: so many show them."""
FIRST = 1e3
"""Beyond any difference."""
STILL_STRANGERS = 0.6
"""Of the strangers lend their expression only."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges; every draw is shared by the two frames of a pair."""

    roll_deg: float = 12.0
    scale: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.08
    """Of the picture's side."""
    colour: float = 0.25
    gamma: float = 0.25


class FramePack:
    """Memory-mapped frames with their readings."""

    def __init__(self, folder: Path, *, validation: bool) -> None:
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        self.segments = json.loads((folder / "segments.json").read_text())
        with np.load(folder / "track.npz") as track:
            self.landmarks = track["landmarks"]
            self.blendshapes = track["blendshapes"]
            self.segment = track["segment"]
            group = track["pose_group"] if "pose_group" in track else np.arange(len(self.segment))
            made = track["made"] if "made" in track else np.zeros(len(self.segment), bool)
        self.made = made
        self.pose_row, self.to_draw = pose_rows(group), rows_to_draw(self.segment, made)
        wanted = np.array([bool(s["validation"]) is validation for s in self.segments])
        self.indices = np.flatnonzero(wanted[self.segment])
        counts = np.bincount(self.segment, minlength=len(self.segments))
        self.starts = np.concatenate([[0], np.cumsum(counts)])


class PairSampler:
    """Draws batches of training pairs; one generator state per step, so that a step can be drawn again."""

    def __init__(
        self,
        pack: FramePack,
        *,
        size: int,
        batch: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        strangers: int = 0,
    ) -> None:
        """``strangers``: so many portraits of a batch are also given another person's motion; see `stranger_drives`."""
        self._pack, self._size, self._batch, self._seed = pack, size, batch, seed
        self._strangers = strangers
        self._augmentation = augmentation or Augmentation()
        self._mirror_points = face_geometry().mirror
        self._mirror_shapes = mirrored_blendshapes()
        self._segment_weights = self._weights()

    def _weights(self) -> np.ndarray:
        """Square root of the length: long clips matter more, but people matter most."""
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
        """The batch of a step, always the same for the same seed."""
        rng = np.random.default_rng((self._seed, step))
        drawn = [self._sample(rng) for _ in range(self._batch)]
        batch = _stacked([arrays for arrays, _ in drawn])
        if self._strangers:
            motions = [motion for _, motion in drawn]
            batch |= stranger_drives(motions, self._strangers, rng, map_px=self._size // 2)
        return batch

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)

    def _sample(self, rng: np.random.Generator) -> tuple[Arrays, Motions]:
        segment = rng.choice(len(self._segment_weights), p=self._segment_weights)
        low, high = self._pack.starts[segment], self._pack.starts[segment + 1]
        source, target = self._far_pair(rng, low, high)
        matrix = self._matrix(rng)
        mirror = bool(rng.random() < 0.5)
        (image_s, motion_s), (image_d, motion_d) = (self._frame(i, matrix, mirror) for i in (source, target))
        image_s, image_d = self._recolour(rng, image_s, image_d)
        drawn = motion_d if rng.random() < 0.5 else _by_expression(motion_s, motion_d)
        drive = build_conditioning(motion_s, drawn, map_px=self._size // 2)
        arrays = _trained(drive)
        truth = place(motion_d.shape, motion_d.pose)
        pictures = {"source": image_s, "target": image_d}
        return {**pictures, "target_landmarks": truth, **arrays}, (motion_s, motion_d)

    def _far_pair(self, rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
        """Of a few draws the pair that differs most in expression and pose: still frames teach nothing.

        Half of the time two expressions of one pose win, where the pack has them.
        """
        draws = rng.integers(low, high, (5, 2))
        b, landmarks = self._pack.blendshapes, self._pack.landmarks
        distance = np.array(
            [
                (np.abs(b[i] - b[j]) * PAIR_WEIGHTS).sum()
                + np.abs(landmarks[i, ::20] - landmarks[j, ::20]).mean() * 5
                for i, j in draws
            ]
        )
        pose = self._pack.pose_row[draws]
        alike = (draws[:, 0] != draws[:, 1]) & (pose[:, 0] == pose[:, 1])
        score = (rng.random() < FAR_SHARE) * distance + (rng.random() < STILL_SHARE) * FIRST * alike
        source, target = draws[int(np.argmax(score))]
        to_draw = self._pack.to_draw[target]
        return int(target if source == to_draw else source), int(to_draw)

    def _matrix(self, rng: np.random.Generator) -> np.ndarray:
        """``[2, 3]``: crop space after augmentation from crop space before."""
        a = self._augmentation
        roll, scale = np.deg2rad(rng.uniform(-a.roll_deg, a.roll_deg)), rng.uniform(*a.scale)
        cos, sin = scale * np.cos(roll), scale * np.sin(roll)
        shift = rng.uniform(-2 * a.shift, 2 * a.shift, 2)
        return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]], np.float32)

    def _frame(self, index: int, matrix: np.ndarray, mirror: bool) -> tuple[np.ndarray, MotionCode]:
        image, blendshapes = self._pack.frames[index], self._pack.blendshapes[index]
        if mirror:
            image, blendshapes = image[:, ::-1], blendshapes[self._mirror_shapes]
        landmarks = self._landmarks(index, matrix, mirror)
        pose = head_pose(self._landmarks(int(self._pack.pose_row[index]), matrix, mirror))
        picture = cv2.warpAffine(
            np.ascontiguousarray(image),
            _pixel_matrix(matrix, image.shape[0], self._size),
            (self._size, self._size),
            flags=cv2.INTER_AREA if self._size < image.shape[0] else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        shape = canonical_shape(landmarks, pose)
        return picture, MotionCode(expression=blendshapes, pose=pose, shape=shape)

    def _landmarks(self, index: int, matrix: np.ndarray, mirror: bool) -> np.ndarray:
        """``[478, 3]`` after augmentation."""
        landmarks = self._pack.landmarks[index]
        if mirror:
            landmarks = landmarks[self._mirror_points] * np.array([-1, 1, 1], np.float32)
        moved = np.empty_like(landmarks)
        moved[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        moved[:, 2] = landmarks[:, 2] * np.sqrt(np.linalg.det(matrix[:, :2]))
        return moved

    def _recolour(self, rng: np.random.Generator, *images: np.ndarray) -> tuple[np.ndarray, ...]:
        a = self._augmentation
        gain = 1 + rng.uniform(-a.colour, a.colour) + rng.uniform(-a.colour, a.colour, 3) / 3
        gamma = 1 + rng.uniform(-a.gamma, a.gamma)
        table = np.linspace(0, 1, 256)[:, None] ** gamma * gain
        table = (np.clip(table, 0, 1) * 255).round().astype(np.uint8)
        return tuple(cv2.LUT(image, table.reshape(256, 1, 3)).transpose(2, 0, 1) for image in images)


def _trained(drive: Conditioning) -> Arrays:
    conditioning = drive.tensors()
    return {name: conditioning[name] for name in TRAINED}


def stranger_drives(
    motions: Sequence[Motions], count: int, rng: np.random.Generator, *, map_px: int
) -> Batch:
    """Drives of the first ``count`` sources by the pair after each: what live use asks for across people.

    No picture tells what is right, but where the landmarks must be found is known: `Conditioning` by array
    with `STRANGER` before its name, and ``stranger_landmarks`` ``[count, 478, 3]``.
    """
    drawn = []
    for number in range(count):
        source, driver = motions[number][0], motions[(number + 1) % len(motions)][1]
        target = _by_expression(source, driver)
        pose = (
            source.pose if rng.random() < STILL_STRANGERS else edit_pose(source.pose, driver.pose, None, 1.0)
        )
        target = replace(target, pose=pose)
        arrays = _trained(build_conditioning(source, target, map_px=map_px))
        drawn.append({**arrays, "landmarks": place(target.shape, target.pose)})
    return {STRANGER + name: value for name, value in _stacked(drawn).items()}


def rows_to_draw(segment: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The row that is drawn where a row was chosen for it, int ``[N]``.

    Itself or, for a made picture, its segment's first real one: made pictures are good enough to start from, but learning
    to draw them would be learning their faults.
    """
    rows = np.arange(len(segment))
    for number in np.unique(segment[made]):
        own = segment == number
        if (real := rows[own & ~made]).size:
            rows[own & made] = real[0]
    return rows


class Mixture:
    """Batches put together from several samplers, the first sampler's pairs first."""

    def __init__(self, samplers: Sequence[PairSampler]) -> None:
        self._samplers = samplers

    def batch(self, step: int) -> Batch:
        """The batch of a step, always the same for the same seeds."""
        parts = [sampler.batch(step) for sampler in self._samplers]
        return {key: torch.cat([part[key] for part in parts if key in part]) for key in parts[0]}

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Batches from ``first_step`` on."""
        return read_ahead(self.batch, first_step)


def read_ahead(draw: Callable[[int], T], first_step: int, *, ahead: int = 2) -> Iterator[T]:
    """``draw`` of each step from ``first_step`` on, some ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(draw, first_step + i) for i in range(ahead)]
        step = first_step + ahead
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(draw, step))
            step += 1


def _stacked(samples: Sequence[Arrays]) -> Batch:
    return {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in samples[0]}


def _by_expression(source: MotionCode, target: MotionCode) -> MotionCode:
    """The target as the live path would know it: the source's own shape, moved by what was read of the expressions."""
    return replace(target, shape=source.shape + expression_displacement(target, source))


def _pixel_matrix(matrix: np.ndarray, size_in: int, size_out: int) -> np.ndarray:
    """Crop-space map to the pixel map that warpAffine wants (pixel centres at integers)."""
    to_pixel = np.array(
        [[size_out / 2, 0, size_out / 2 - 0.5], [0, size_out / 2, size_out / 2 - 0.5], [0, 0, 1]]
    )
    from_pixel = np.array([[2 / size_in, 0, 1 / size_in - 1], [0, 2 / size_in, 1 / size_in - 1], [0, 0, 1]])
    return (to_pixel @ np.vstack([matrix, [0, 0, 1]]) @ from_pixel)[:2]
