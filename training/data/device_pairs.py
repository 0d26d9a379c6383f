"""Draw pairs of `training.data.pairs` on a GPU, where the frames stay as bytes;
`training.data.device_batches` makes batches of them.

Every augmentation is a similarity of the picture's plane. It changes the head pose but not the
canonical shape. So all frames are fitted once, plain and mirrored, and a batch needs no fitting. The
same pair with the same augmentation gives the same arrays as `PairSampler` (tested).

Shape letters: N frames of the pack, B pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.training.data.augmentation import Augmentation
from mimicam.training.data.device_motions import read_motions
from mimicam.training.data.geometry import pose_rows
from mimicam.training.data.pairs import (
    EXPRESSION_ONLY_PROBABILITY,
    FAR_PAIR_PROBABILITY,
    PAIR_WEIGHTS,
    SAME_POSE_BONUS,
    SAME_POSE_PROBABILITY,
    target_rows,
)

_TRIES = 5
"""Candidate pairs per chosen pair, as in `PairSampler`."""
_BY_EXPRESSION_SHARE = 0.5
"""Probability of moving the source's own shape by the expression that was read, as live use
does."""


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
        self._motions = read_motions(landmarks_NL3, blendshapes, pose_row).packed().to(device)
        # Blendshapes by their weights, and every 20th landmark, as in `PairSampler`.
        weights = np.concatenate(
            [blendshapes * PAIR_WEIGHTS, landmarks_NL3[:, ::20].reshape(len(segment), -1)], axis=1
        )
        # Five times the mean over landmarks and axes, as a sum over columns.
        weights[:, blendshapes.shape[1] :] *= 5 / landmarks_NL3[:, ::20].shape[1] / 3
        self.places = torch.from_numpy(weights.astype(np.float32)).to(device)
        """Features whose L1 distance measures how much a pair moves; see `PairSampler`."""
        _, starts, lengths = np.unique(segment, return_index=True, return_counts=True)
        self.starts = torch.from_numpy(starts).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)

    def motions(self, frame: Tensor, mirror: Tensor) -> Tensor:
        """Gather the motions of frames, mirrored where ``mirror`` is 1; rows of `Motions.packed`."""
        return self._motions[mirror, frame]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of one pack, gathered from it, and how they are augmented."""

    frames: Tensor
    """uint8 ``[B, 2, S, S, 3]``"""
    motions: Tensor
    """``[B, 2, D]``: rows of `Motions.packed`."""
    matrix: Tensor
    """``[B, 2, 3]``: similarity of the picture's plane."""
    mirror: Tensor
    """int64 ``[B]``, 0 or 1."""
    by_expression: Tensor
    """bool ``[B]``: the sources whose own shape is moved."""
    gain: Tensor
    """``[B, 3]``: factors of the colours."""
    gamma: Tensor
    """``[B, 1]``"""
    still: Tensor
    """bool ``[C]``, for the first pairs, whose portraits another person drives too: expression only, not
    head pose."""


class DeviceSampler:
    """Draws pairs of one pack; those of a step are always the same for the same seed and device."""

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
        size: side of the batches' pictures, pixels.
        cross_identity: number of portraits per batch that also get another person's motion; see
            `training.data.device_batches`.
        """
        self.size, self.batch_size, self.cross_identity = size, batch, cross_identity
        self._pack, self._seed = pack, seed
        self._augmentation = augmentation or Augmentation()
        # The square root, as in `PairSampler`: long clips do not crowd out short ones.
        weights = pack.lengths.sqrt() * (pack.lengths > 1)
        if not bool(weights.any()):
            raise EngineError("a pack has no person with two frames in one clip: leave it out")
        self._chances = weights.cumsum(0) / weights.sum()
        """Cumulative probabilities of the segments."""
        self._shares = torch.tensor([FAR_PAIR_PROBABILITY, SAME_POSE_PROBABILITY], device=pack.device)[
            :, None, None
        ]
        self._row = torch.arange(batch, device=pack.device)

    @property
    def frame_px(self) -> int:
        """Return the side of the pack's pictures."""
        return self._pack.frames.shape[1]

    @property
    def device(self) -> torch.device:
        """Return the device that holds the pairs."""
        return self._pack.device

    def pairs(self, step: int) -> Pairs:
        """Draw the pairs of a step; see `PairSampler.batch`."""
        # A factor beyond any number of steps, so that runs of neighbouring seeds share no step.
        random = torch.Generator(self._pack.device).manual_seed(self._seed * 1_000_003 + step)
        pair_B2 = self._far_pairs(random)
        matrix_B23 = self._matrices(random)
        mirror_B = (self._uniform(random, self.batch_size) < 0.5).long()
        by_expression_B = self._uniform(random, self.batch_size) < _BY_EXPRESSION_SHARE
        gain_B3, gamma_B1 = self._colours(random)
        return Pairs(
            frames=self._pack.frames[pair_B2],
            motions=self._pack.motions(pair_B2, mirror_B[:, None]),
            matrix=matrix_B23,
            mirror=mirror_B,
            by_expression=by_expression_B,
            gain=gain_B3,
            gamma=gamma_B1,
            still=self._uniform(random, self.cross_identity) < EXPRESSION_ONLY_PROBABILITY,
        )

    def _far_pairs(self, random: torch.Generator) -> Tensor:
        pack = self._pack
        chance = self._uniform(random, self.batch_size)
        # Rounding may leave the last cumulative probability below 1.
        segment = torch.searchsorted(self._chances, chance, right=True).clamp(max=len(self._chances) - 1)
        # Candidates of all pairs at once; the best of each wins below.
        share = self._uniform(random, self.batch_size, _TRIES, 2)
        draws = pack.starts[segment, None, None] + (share * pack.lengths[segment, None, None]).long()
        distance = (pack.places[draws[..., 0]] - pack.places[draws[..., 1]]).abs().sum(-1)
        pose = pack.pose_row[draws]
        alike = (draws[..., 0] != draws[..., 1]) & (pose[..., 0] == pose[..., 1])
        wish = (self._uniform(random, 2, self.batch_size, 1) < self._shares).float()
        far = (wish[0] * distance + wish[1] * SAME_POSE_BONUS * alike).argmax(dim=1)
        source, target = draws[self._row, far].unbind(1)
        target_row = pack.target_row[target]
        return torch.stack([torch.where(source == target_row, target, source), target_row], dim=1)

    def _matrices(self, random: torch.Generator) -> Tensor:
        a = self._augmentation
        roll = np.deg2rad(a.roll_deg) * (2 * self._uniform(random, self.batch_size) - 1)
        scale = a.scale[0] + (a.scale[1] - a.scale[0]) * self._uniform(random, self.batch_size)
        shift = 2 * a.shift * (2 * self._uniform(random, self.batch_size, 2) - 1)
        cos, sin = scale * roll.cos(), scale * roll.sin()
        rows = [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)]
        return torch.stack(rows, dim=1)

    def _colours(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        a = self._augmentation
        shared, channel, gamma = (2 * self._uniform(random, self.batch_size, n) - 1 for n in (1, 3, 1))
        return 1 + a.colour * (shared + channel / 3), 1 + a.gamma * gamma

    def _uniform(self, random: torch.Generator, *shape: int) -> Tensor:
        return torch.rand(shape, generator=random, device=self._pack.device)
