"""Draw the batches of `training.data.pairs` on a GPU: frames stay there as bytes, and are warped
and coloured there.

Every augmentation is a similarity of the picture's plane. It changes the head pose but not the
canonical shape. So all frames are fitted once, plain and mirrored, and a batch needs no fitting.
Only the opening masks are drawn on the CPU, by the functions of the live path, in threads and three
steps ahead. The same pair with the same augmentation gives the same arrays as `PairSampler`
(tested).

On a GPU, batches are drawn on a stream of their own. On the stream of the training step, each copy
to the host would wait for the end of that step. For the same reason nothing here reads results or
errors from the device: no checked linear algebra, no ``.item()``, no index that lies on the host.

Shape letters: N frames of the pack, B batch, L = 478 landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import RIGID
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.edit import edit_pose
from mimicam.engine.models.compact.landmark_flow import pixel_grid
from mimicam.training.data.augmentation import Augmentation
from mimicam.training.data.device_motions import Motions, determinant, read_motions
from mimicam.training.data.geometry import pose_rows
from mimicam.training.data.openings import OpeningsPainter
from mimicam.training.data.pairs import (
    CROSS,
    EXPRESSION_ONLY_PROBABILITY,
    FAR_PAIR_PROBABILITY,
    PAIR_WEIGHTS,
    SAME_POSE_BONUS,
    SAME_POSE_PROBABILITY,
    Batch,
    read_ahead,
    target_rows,
)

_TRIES = 5
"""Candidate pairs per chosen pair, as in `PairSampler`."""
_BY_EXPRESSION_SHARE = 0.5
"""Probability of moving the source's own shape by the expression that was read, as live use
does."""
_AHEAD = 3
"""Number of batches drawn ahead on a GPU."""


class DevicePack:
    """A pack on one device: frames, and what the tracker read of them."""

    def __init__(
        self,
        frames_NSS3: np.ndarray,
        landmarks_NL3: np.ndarray,
        blendshapes: np.ndarray,
        segment: np.ndarray,
        same_pose_group: np.ndarray,
        is_synthetic: np.ndarray,
        *,
        device: torch.device,
    ) -> None:
        """Move a pack to the device.

        Args:
            segment: int ``[N]``, ascending: frames of one person without a cut.
            same_pose_group: see `training.data.pack`.
            is_synthetic: see `training.data.pack`.
        """
        self.device = device
        self.frames = torch.from_numpy(frames_NSS3).to(device)
        pose_row = pose_rows(same_pose_group)
        tables = (pose_row, target_rows(segment, is_synthetic))
        self.pose_row, self.target_row = (torch.from_numpy(table).to(device) for table in tables)
        motions = read_motions(landmarks_NL3, blendshapes, pose_row)
        self.motions = Motions(**{f.name: getattr(motions, f.name).to(device) for f in fields(motions)})
        # Blendshapes by their weights, and every 20th landmark, as in `PairSampler`.
        weights = np.concatenate(
            [blendshapes * PAIR_WEIGHTS, landmarks_NL3[:, ::20].reshape(len(segment), -1)], axis=1
        )
        weights[:, blendshapes.shape[1] :] *= 5 / landmarks_NL3[:, ::20].shape[1] / 3
        self.places = torch.from_numpy(weights.astype(np.float32)).to(device)
        """Features whose L1 distance measures how much a pair moves; see `PairSampler`."""
        _, starts, lengths = np.unique(segment, return_index=True, return_counts=True)
        self.starts = torch.from_numpy(starts).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.control, self.rigid = (torch.from_numpy(rows).to(device) for rows in (CONTROL, RIGID))


class DeviceSampler:
    """Draws batches on the device; the batch of a step is always the same for the same seed and
    device."""

    def __init__(
        self,
        pack: DevicePack,
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
        weights = pack.lengths.sqrt() * (pack.lengths > 1)
        if not bool(weights.any()):
            raise EngineError("a pack has no person with two frames in one clip: leave it out")
        self._chances = weights.cumsum(0) / weights.sum()
        """Cumulative probabilities of the segments."""
        self._shares = torch.tensor([FAR_PAIR_PROBABILITY, SAME_POSE_PROBABILITY], device=pack.device)[
            :, None, None
        ]
        self._row = torch.arange(batch, device=pack.device)
        self._openings = OpeningsPainter(batch, size // 2, pack.device)
        self._cross_openings = OpeningsPainter(max(cross_identity, 1), size // 2, pack.device)

    @property
    def device(self) -> torch.device:
        """Return the device that holds the batches."""
        return self._pack.device

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step; see `PairSampler.batch`."""
        random = torch.Generator(self._pack.device).manual_seed(self._seed * 1_000_003 + step)
        pair_B2 = self._far_pairs(random)
        matrix_B23 = self._matrices(random)
        mirror_B = (self._uniform(random, self._batch) < 0.5).long()
        by_expression_B = self._uniform(random, self._batch) < _BY_EXPRESSION_SHARE
        images = self.pictures(pair_B2, matrix_B23, mirror_B)
        images = self._recoloured(random, images)
        batch = {
            "source": images[:, 0],
            "target": images[:, 1],
            **self.drive(pair_B2, matrix_B23, mirror_B, by_expression_B),
        }
        if self._cross_identity:
            still_S = self._uniform(random, self._cross_identity) < EXPRESSION_ONLY_PROBABILITY
            batch |= self.cross_identity_drives(*self._motions(pair_B2, matrix_B23, mirror_B), still_S)
        return batch

    def pictures(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor) -> Tensor:
        """Warp the pairs' pictures, ``[B, 2, 3, size, size]``, 0..255, resampled once."""
        frames = self._pack.frames[pair_B2.flatten()].permute(0, 3, 1, 2).float()
        linear_B22 = matrix_B23[:, :, :2]
        at = pixel_grid(self._size, matrix_B23)[None] - matrix_B23[:, None, :, 2]
        # Row vectors times a scaled rotation, over its determinant, apply the inverse.
        at = at @ linear_B22 / determinant(linear_B22)[:, None, None]
        flip = torch.stack([1.0 - 2.0 * mirror_B, torch.ones_like(matrix_B23[:, 0, 0])], dim=-1)
        grid = (at * flip[:, None]).view(-1, self._size, self._size, 2).repeat_interleave(2, dim=0)
        moved = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
        return moved.view(-1, 2, *moved.shape[1:])

    def drive(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor, by_expression_B: Tensor) -> Batch:
        """Compute the arrays of `engine.models.compact.conditioning.Conditioning`, and ``target_landmarks``."""
        source, target = self._motions(pair_B2, matrix_B23, mirror_B)
        # Live use moves the source's own shape by the change of expression.
        change = target.displacement - source.displacement
        shape = torch.where(by_expression_B[:, None, None], source.shape + change, target.shape)
        arrays = self._arrays(source, replace(target, shape=shape), self._openings)
        return {**arrays, "target_landmarks": target.placed()}

    def cross_identity_drives(self, source: Motions, target: Motions, still_S: Tensor) -> Batch:
        """Drive the first sources by the next pair's target; see
        `training.data.pairs.cross_identity_drives`.

        ``still_S``: the drivers that lend their expression only, not their head pose.
        """
        count = len(still_S)
        rows = torch.arange(count, device=self._pack.device)
        portrait, driver = source.at(rows), target.at((rows + 1) % len(target.scale))
        moved = replace(
            driver,
            shape=portrait.shape + driver.displacement - portrait.displacement,
            **_edited_poses(portrait, driver, still_S.cpu().numpy()),
        )
        arrays = self._arrays(portrait, moved, self._cross_openings) | {"landmarks": moved.placed()}
        return {CROSS + name: value for name, value in arrays.items()}

    def _motions(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor) -> tuple[Motions, Motions]:
        """Return the motions of the pairs' sources and targets, after augmentation."""
        source, target = (self._pack.motions.at(mirror_B, pair_B2[:, i]).moved(matrix_B23) for i in (0, 1))
        return source, target

    def _arrays(self, source: Motions, drawn: Motions, paint: OpeningsPainter) -> Batch:
        points, own = drawn.placed(), source.placed()
        # The head motion alone: the source's shape at the driven pose.
        carried = replace(drawn, shape=source.shape).placed()
        rigid = self._pack.rigid
        return {
            "source_points": own[:, self._pack.control],
            "target_points": points[:, self._pack.control],
            "affine": fit_affine(carried[:, rigid, :2], own[:, rigid, :2]),
            "head": torch.cat([drawn.translation, drawn.scale[:, None]], dim=1),
            "expression": torch.stack([source.expression, drawn.expression], dim=1),
            "pose": torch.stack([source.pose_vector(), drawn.pose_vector()], dim=1),
            "openings": paint(source.codes(), drawn.codes()),
        }

    def _far_pairs(self, random: torch.Generator) -> Tensor:
        pack = self._pack
        chance = self._uniform(random, self._batch)
        # Rounding may leave the last cumulative probability below 1.
        segment = torch.searchsorted(self._chances, chance, right=True).clamp(max=len(self._chances) - 1)
        # Candidates of all pairs at once; the best of each wins below.
        share = self._uniform(random, self._batch, _TRIES, 2)
        draws = pack.starts[segment, None, None] + (share * pack.lengths[segment, None, None]).long()
        distance = (pack.places[draws[..., 0]] - pack.places[draws[..., 1]]).abs().sum(-1)
        pose = pack.pose_row[draws]
        alike = (draws[..., 0] != draws[..., 1]) & (pose[..., 0] == pose[..., 1])
        wish = (self._uniform(random, 2, self._batch, 1) < self._shares).float()
        far = (wish[0] * distance + wish[1] * SAME_POSE_BONUS * alike).argmax(dim=1)
        source, target = draws[self._row, far].unbind(1)
        target_row = pack.target_row[target]
        return torch.stack([torch.where(source == target_row, target, source), target_row], dim=1)

    def _matrices(self, random: torch.Generator) -> Tensor:
        a = self._augmentation
        roll = np.deg2rad(a.roll_deg) * (2 * self._uniform(random, self._batch) - 1)
        scale = a.scale[0] + (a.scale[1] - a.scale[0]) * self._uniform(random, self._batch)
        shift = 2 * a.shift * (2 * self._uniform(random, self._batch, 2) - 1)
        cos, sin = scale * roll.cos(), scale * roll.sin()
        rows = [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)]
        return torch.stack(rows, dim=1)

    def _recoloured(self, random: torch.Generator, images: Tensor) -> Tensor:
        """Change colour and gamma, alike in the two pictures of a pair; returns uint8."""
        a = self._augmentation
        shared, channel, gamma = (2 * self._uniform(random, self._batch, n) - 1 for n in (1, 3, 1))
        gain = 1 + a.colour * (shared + channel / 3)
        gamma = 1 + a.gamma * gamma
        light = (images.clamp(0, 255) / 255) ** gamma[:, :, None, None, None] * gain[:, None, :, None, None]
        return (light.clamp(0, 1) * 255).round().to(torch.uint8)

    def _uniform(self, random: torch.Generator, *shape: int) -> Tensor:
        return torch.rand(shape, generator=random, device=self._pack.device)


def _edited_poses(portrait: Motions, driver: Motions, still: np.ndarray) -> dict[str, Tensor]:
    """Compute each portrait's pose: turned as in live use, or unchanged where ``still``."""
    device = portrait.scale.device
    own, other = ([code.pose for code in motions.codes()] for motions in (portrait, driver))
    poses = [a if keep else edit_pose(a, b, None, 1.0) for a, b, keep in zip(own, other, still, strict=True)]
    return {
        "rotation": torch.from_numpy(np.stack([pose.rotation for pose in poses])).to(device),
        "translation": torch.from_numpy(np.stack([pose.translation for pose in poses])).to(device),
        "scale": torch.tensor([pose.scale for pose in poses]).to(device),
    }


def device_stream(samplers: Sequence[DeviceSampler], first_step: int) -> Iterator[Batch]:
    """Yield batches from ``first_step`` on, the first sampler's pairs first; on a GPU, ready for
    the current stream."""
    device = samplers[0].device
    if device.type != "cuda":
        yield from read_ahead(lambda step: _together(samplers, step), first_step)
        return
    own, main = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    own.wait_stream(main)  # the copies of the packs may not have finished

    def draw(step: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(own):
            return _together(samplers, step), own.record_event()

    for batch, ready in read_ahead(draw, first_step, ahead=_AHEAD):
        main.wait_event(ready)
        for value in batch.values():
            # Otherwise a later batch could be given its memory while this step still reads it.
            value.record_stream(main)
        yield batch


def _together(samplers: Sequence[DeviceSampler], step: int) -> Batch:
    parts = [sampler.batch(step) for sampler in samplers]
    if len(parts) == 1:
        return parts[0]
    return {key: torch.cat([part[key] for part in parts if key in part]) for key in parts[0]}


def fit_affine(source_BK2: Tensor, target_BK2: Tensor) -> Tensor:
    """Fit ``[B, 2, 3]`` about the points' means, which leaves two unknowns; see
    `engine.models.compact.conditioning.fit_affine`."""
    mean_B12, to_B12 = source_BK2.mean(1, keepdim=True), target_BK2.mean(1, keepdim=True)
    centred = source_BK2 - mean_B12
    turned = centred.transpose(-1, -2)
    # Normal equations, solved by the adjugate: a checked solver would wait for the device.
    normal_B22 = turned @ centred + 1e-6 * torch.eye(2, device=source_BK2.device)
    (a, b), (c, d) = (row.unbind(-1) for row in normal_B22.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse_B22 = adjugate / determinant(normal_B22)[:, None, None]
    linear_B22 = (inverse_B22 @ (turned @ (target_BK2 - to_B12))).transpose(-1, -2)
    shift_B21 = to_B12.transpose(-1, -2) - linear_B22 @ mean_B12.transpose(-1, -2)
    return torch.cat([linear_B22, shift_B21], dim=-1)
