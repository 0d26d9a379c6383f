"""Teach the embedders of DAE-GAN's compact preset to read faces, before anything is drawn.

The trunk is never trained, so its features are computed once for many pictures. Where faces are,
codes and displacements are learned from these and the landmarks, a hundred times as fast as from
pictures. Not in the paper.

Shape letters: N pictures, C values that the trunk reads, L landmarks, E values of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mimicam.engine.models.daegan.compact_embedders import CompactFaceEmbedder, CompactPoseEmbedder
from mimicam.training.daegan.finding import face_place, place_loss
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
_FINDING = 4
"""Pictures that are read for each from which the place of faces is learned."""
_NOISE = 0.1
"""Deviation of the noise on features from which places are learned, in their own deviations."""


class Batches(Protocol):
    """The part of a sampler that is used."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the batch of a step, with landmarks."""


class Readings(NamedTuple):
    """What the trunk reads in pictures, and their landmarks."""

    read: Tensor
    """``[N, C]``"""
    resting: Tensor
    """``[N, L, 2]``"""
    landmarks: Tensor
    """``[N, L, 2]``"""
    expressions: Tensor
    """``[N, E]``"""


class Steps(NamedTuple):
    """Steps of the finder, and of each embedder."""

    finder: int = 6_000
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
        tell: takes a line before each of the four parts, which take minutes on a CPU.
    """
    finding, later = max(pictures // _FINDING, 1), _BEFORE_TRAINING // 2
    tell(f"learning from {finding} pictures where faces are")
    _learn_to_find(recipe, _collected(batches, finding, later, partial(_whole, recipe)), steps.finder)
    tell(f"reading {pictures} pictures with the landmark network")
    readings = Readings(*_collected(batches, pictures, _BEFORE_TRAINING, partial(_readings, recipe)))
    embedders: tuple[Of, ...] = ("face", "pose")
    for name in embedders:
        tell(f"the {name} embedder learns codes and displacements from their landmarks")
        _learn(recipe, name, readings, steps)
    if recipe.average is not None:
        recipe.average.restart(recipe.model)


def _collected(
    batches: Batches, pictures: int, first: int, read: Callable[[dict[str, Tensor]], Sequence[Tensor]]
) -> list[Tensor]:
    """Read batches from number ``first`` on until there are enough pictures."""
    found: list[Sequence[Tensor]] = []
    while sum(len(one[0]) for one in found) < pictures:
        found.append(read(batches.batch(first + len(found))))
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _whole(recipe: DaeGanRecipe, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the features of whole pictures, and the landmarks in them."""
    frames, _, driver = recipe.pictures(batch)
    points = recipe.points(batch)
    trunk = recipe.trunk_encoders()[0].trunk
    features = trunk.features(torch.cat([frames.flatten(0, 1), driver]))
    return features, torch.cat([points.frames.flatten(0, 1), points.target])


def _readings(recipe: DaeGanRecipe, batch: dict[str, Tensor]) -> Readings:
    frames, _, driver = recipe.pictures(batch)
    resting, of_frames, of_target, expressions = recipe.points(batch)
    encoder = recipe.trunk_encoders()[0]
    # A frame is read as the face embedder reads it, the driver as the pose embedder does.
    count = frames.shape[1]
    return Readings(
        encoder.read(torch.cat([frames.flatten(0, 1), driver])),
        torch.cat([resting.repeat_interleave(count, 0), resting]),
        torch.cat([of_frames.flatten(0, 1), of_target]),
        torch.cat([expressions[:, :-1].flatten(0, 1), expressions[:, -1]]),
    )


def _learn_to_find(recipe: DaeGanRecipe, collected: Sequence[Tensor], steps: int) -> None:
    """Train one finder, and give it to both encoders."""
    features, landmarks = collected
    place, deviation = face_place(landmarks), features.std(0)
    first, *others = (encoder.finder for encoder in recipe.trunk_encoders())

    def loss(rows: Tensor) -> Tensor:
        some = features[rows]
        # Noise, so that people who are not among them are found as well.
        return place_loss(first(some + _NOISE * deviation * torch.randn_like(some)), place[rows])

    _descend(loss, list(first.parameters()), len(features), batch=_BATCH_CODES, steps=steps)
    for other in others:
        other.load_state_dict(first.state_dict())


def _learn(recipe: DaeGanRecipe, name: Of, readings: Readings, steps: Steps) -> None:
    """Train one embedder: the codes first, then the displacements with them."""
    assert recipe.guidance is not None, "batches without guidance have no landmarks"
    guidance = recipe.guidance
    embedder = recipe.model.face_embedder if name == "face" else recipe.model.pose_embedder
    assert isinstance(embedder, CompactFaceEmbedder | CompactPoseEmbedder), "others learn with the pictures"
    encoder = embedder.encoder
    readout = guidance.face if name == "face" else guidance.pose
    of_codes = [*encoder.head_parameters(), *readout.parameters()]
    if isinstance(embedder, CompactPoseEmbedder):
        of_codes += [*guidance.shapes.parameters(), *embedder.gaze.parameters()]

    def drawn(rows: Tensor) -> Readings:
        return Readings(*(part[rows.to(part.device)] for part in readings))

    def told(some: Readings, codes: Tensor) -> Tensor:
        """Compute the loss of what codes tell."""
        loss = guidance.codes(codes, some.resting, some.landmarks, of=name)
        if isinstance(embedder, CompactPoseEmbedder):
            loss = loss + guidance.expressions(codes, embedder.gaze(codes), some.expressions)
        return loss

    def codes_loss(rows: Tensor) -> Tensor:
        some = drawn(rows)
        return told(some, encoder.of_read(some.read))

    def fields_loss(rows: Tensor) -> Tensor:
        some = drawn(rows)
        codes = encoder.of_read(some.read)
        with torch.autocast(codes.device.type, torch.bfloat16):
            posed = embedder.posed(codes) if isinstance(embedder, CompactPoseEmbedder) else None
            field = (embedder.field(codes) if posed is None else posed.displacement).float()
        loss = guidance.field(field, some.resting, some.landmarks, of=name)
        if posed is not None:
            loss = loss + _LAYOUT * layout_loss(posed.layout.float(), some.landmarks)
        return loss + told(some, codes) + _SMOOTHNESS * smoothness_loss(field)

    # Large batches tell the codes' mean and deviation at once; small ones change them slowly.
    slow, encoder.normalise.momentum = encoder.normalise.momentum, _MOMENTUM
    _descend(codes_loss, of_codes, len(readings.read), batch=_BATCH_CODES, steps=steps.codes)
    encoder.normalise.momentum = slow
    every = [*of_codes, *embedder.field_parameters()]
    _descend(fields_loss, every, len(readings.read), batch=_BATCH_FIELDS, steps=steps.fields)


def _descend(
    objective: Callable[[Tensor], Tensor],
    learned: list[nn.Parameter],
    count: int,
    *,
    batch: int,
    steps: int,
) -> None:
    """Minimise an objective over batches of rows out of ``count``, at a rate that falls to 0."""
    optimiser = torch.optim.Adam(learned, lr=_RATE)
    # Batches drawn by torch's own generator: the run's seed makes them the same again.
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        loss = objective(torch.randint(count, (min(batch, count),)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
