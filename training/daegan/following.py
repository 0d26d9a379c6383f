"""Measure how far a driver's mouth, lids and head turn arrive in the pose embedder's
displacement."""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.training.daegan.guidance import shown_at

NAMES = ("mouth", "lids", "turn")


@torch.no_grad()
def following(model: DaeGanNetworks, driver_N3SS: Tensor, target_NL2: Tensor, resting_NL2: Tensor) -> Tensor:
    """Correlate `features` of the landmarks with those that the displacement shows, ``[3]``.

    Only the code connects the two: the displacement is read from the resting places alone. A
    feature that does not differ gives 0.
    """
    # A field maps the target to the resting places; its inverse shows where these went.
    shown = shown_at(model.pose_embedder(driver_N3SS).displacement, resting_NL2)
    # Pearson's correlation over the batch: an offset or a gain of the field does not count.
    a, b = (x - x.mean(0) for x in (features(shown), features(target_NL2)))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-9)


def features(points_NL2: Tensor) -> Tensor:
    """Compute mouth opening, lid opening and head turn, relative to the forehead's height, ``[N,
    3]``."""

    def between(a: int, b: int) -> Tensor:
        return points_NL2[:, b] - points_NL2[:, a]

    # Outer lips: inner ones may share a resting place. Nose tip against both temples for the turn.
    mouth, lids = between(0, 17)[:, 1], between(159, 145)[:, 1] + between(386, 374)[:, 1]
    turn = between(127, 4)[:, 0] + between(356, 4)[:, 0]
    return torch.stack([mouth, lids, turn], -1) / between(10, 4).norm(dim=-1, keepdim=True).clamp_min(1e-6)
