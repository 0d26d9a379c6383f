"""Teach the encoders of DAE-GAN's compact preset to read faces, before anything is drawn.

The trunk is never trained, so its features are computed once for many pictures, and the layers
behind it learn from these in a minute. Not in the paper.

Shape letters: N pictures, C features, L landmarks.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from mimicam.engine.models.daegan.compact import TrunkEncoder
from mimicam.engine.models.daegan.face_trunk import FaceTrunk
from mimicam.training.daegan.recipe import DaeGanRecipe

_STEPS = 3_000
_BATCH = 256
_RATE = 1e-3
_BEFORE_TRAINING = 10**9
"""Number of the first batch that is drawn: training never comes that far."""
Embedder = Literal["face", "pose"]


class Batches(Protocol):
    """The part of a sampler that is used."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the batch of a step, with landmarks."""


class Readings(NamedTuple):
    """What the trunk reads in pictures, and their landmarks."""

    features: Tensor
    """``[N, C]``"""
    resting: Tensor
    """``[N, L, 2]``"""
    landmarks: Tensor
    """``[N, L, 2]``"""


def learn_to_read(recipe: DaeGanRecipe, batches: Batches, *, pictures: int, steps: int = _STEPS) -> None:
    """Train the layers behind the trunks, and the readouts that `Guidance` has, by landmarks alone.

    Args:
        recipe: a compact preset with guidance. Its optimisers are not used.
        batches: batches that training will not draw are taken.
        pictures: number of pictures to read; at least those of one batch.
    """
    readings = _read(recipe, batches, pictures)
    for name in ("face", "pose"):
        _learn(recipe, name, readings, steps)
    if recipe.average is not None:
        recipe.average.restart(recipe.model)


def _read(recipe: DaeGanRecipe, batches: Batches, pictures: int) -> Readings:
    """Read frames and targets of batches until there are enough."""
    trunk = recipe.trunk_encoders()[0].trunk
    found: list[Readings] = []
    number = 0
    while sum(len(one.features) for one in found) < pictures:
        found.append(_readings(recipe, batches.batch(_BEFORE_TRAINING + number), trunk))
        number += 1
    return Readings(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _readings(recipe: DaeGanRecipe, batch: dict[str, Tensor], trunk: FaceTrunk) -> Readings:
    frames, _, driver = recipe.pictures(batch)
    resting, of_frames, of_target = recipe.points(batch)
    # A frame is read as the face embedder reads it, the driver as the pose embedder does.
    count = frames.shape[1]
    return Readings(
        torch.cat([trunk(frames.flatten(0, 1)), trunk(driver)]),
        torch.cat([resting.repeat_interleave(count, 0), resting]),
        torch.cat([of_frames.flatten(0, 1), of_target]),
    )


def _learn(recipe: DaeGanRecipe, name: Embedder, readings: Readings, steps: int) -> None:
    """Train one embedder's layers between features and code, and its readout."""
    assert recipe.guidance is not None, "batches without guidance have no landmarks"
    embedder = recipe.model.face_embedder if name == "face" else recipe.model.pose_embedder
    encoder = embedder.encoder
    assert isinstance(encoder, TrunkEncoder), "other presets learn to read with everything else"
    readout = recipe.guidance.face if name == "face" else recipe.guidance.pose
    learned = [*encoder.head_parameters(), *readout.parameters()]
    optimiser = torch.optim.Adam(learned, lr=_RATE)
    # Batches drawn by torch's own generator: the run's seed makes them the same again.
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randint(len(readings.features), (min(_BATCH, len(readings.features)),))
        some = Readings(*(part[rows.to(part.device)] for part in readings))
        codes = encoder.of_features(some.features)
        loss = recipe.guidance.codes(codes, some.resting, some.landmarks, of=name)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
