"""Teach the embedders of DAE-GAN's compact preset to read faces, before anything is drawn.

The trunk is never trained, so its features are computed once for many pictures. Codes and
displacements learn from these and the landmarks, a hundred times as fast as from pictures. Not in
the paper.

Shape letters: N pictures, C features, L landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mimicam.engine.models.daegan.compact_embedders import CompactFaceEmbedder, CompactPoseEmbedder
from mimicam.engine.models.daegan.face_trunk import FaceTrunk
from mimicam.training.daegan.guidance import Of
from mimicam.training.daegan.layout import layout_loss
from mimicam.training.daegan.losses import smoothness_loss
from mimicam.training.daegan.recipe import DaeGanRecipe

_BATCH_CODES, _BATCH_FIELDS = 256, 64
_RATE = 1e-3
_MOMENTUM = 0.1
"""Weight of a batch in the statistics that normalise a code, while codes are learned alone."""
_SMOOTHNESS = 0.1
"""Weight of equation 4. Small: landmarks are dense, and a decoder's fields are smooth already."""
_LAYOUT = 2.0
"""Weight of the layout."""
_BEFORE_TRAINING = 10**9
"""Number of the first batch that is drawn: training never comes that far."""


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


class Steps(NamedTuple):
    """Steps of each embedder."""

    codes: int = 2_000
    fields: int = 5_000


_STEPS = Steps()


def learn_to_read(
    recipe: DaeGanRecipe,
    batches: Batches,
    *,
    pictures: int,
    steps: Steps = _STEPS,
    tell: Callable[[str], object] = str,
) -> None:
    """Train the layers behind the trunks, the decoders of displacements, and the readouts that
    `Guidance` has, by landmarks alone.

    Args:
        recipe: a compact preset with guidance. Its optimisers are not used.
        batches: batches that training will not draw are taken.
        pictures: number of pictures to read; at least those of one batch.
        tell: takes a line before each of the three parts, which take minutes on a CPU.
    """
    tell(f"reading {pictures} pictures with the landmark network")
    readings = _read(recipe, batches, pictures)
    embedders: tuple[Of, ...] = ("face", "pose")
    for name in embedders:
        tell(f"the {name} embedder learns codes and displacements from their landmarks")
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


def _learn(recipe: DaeGanRecipe, name: Of, readings: Readings, steps: Steps) -> None:
    """Train one embedder: the codes first, then the displacements with them."""
    assert recipe.guidance is not None, "batches without guidance have no landmarks"
    guidance = recipe.guidance
    embedder = recipe.model.face_embedder if name == "face" else recipe.model.pose_embedder
    assert isinstance(embedder, CompactFaceEmbedder | CompactPoseEmbedder), "others learn with the pictures"
    encoder = embedder.encoder
    readout = guidance.face if name == "face" else guidance.pose
    of_codes = [*encoder.head_parameters(), *readout.parameters()]

    def codes_loss(some: Readings) -> Tensor:
        codes = encoder.of_features(some.features)
        return guidance.codes(codes, some.resting, some.landmarks, of=name)

    def fields_loss(some: Readings) -> Tensor:
        codes = encoder.of_features(some.features)
        with torch.autocast(codes.device.type, torch.bfloat16):
            posed = embedder.posed(codes) if isinstance(embedder, CompactPoseEmbedder) else None
            field = (embedder.field(codes) if posed is None else posed.displacement).float()
        loss = guidance.field(field, some.resting, some.landmarks, of=name)
        if posed is not None:
            loss = loss + _LAYOUT * layout_loss(posed.layout.float(), some.landmarks)
        loss = loss + guidance.codes(codes, some.resting, some.landmarks, of=name)
        return loss + _SMOOTHNESS * smoothness_loss(field)

    # Large batches tell the codes' mean and deviation at once; small ones change them slowly.
    slow, encoder.normalise.momentum = encoder.normalise.momentum, _MOMENTUM
    _descend(codes_loss, of_codes, readings, batch=_BATCH_CODES, steps=steps.codes)
    encoder.normalise.momentum = slow
    every = [*of_codes, *embedder.field_parameters()]
    _descend(fields_loss, every, readings, batch=_BATCH_FIELDS, steps=steps.fields)


def _descend(
    objective: Callable[[Readings], Tensor],
    learned: list[nn.Parameter],
    readings: Readings,
    *,
    batch: int,
    steps: int,
) -> None:
    """Minimise an objective over batches of readings, at a rate that falls to 0."""
    optimiser = torch.optim.Adam(learned, lr=_RATE)
    # Batches drawn by torch's own generator: the run's seed makes them the same again.
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randint(len(readings.features), (min(batch, len(readings.features)),))
        loss = objective(Readings(*(part[rows.to(part.device)] for part in readings)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
