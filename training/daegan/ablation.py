"""The parts of DAE-GAN one after another, as in the ablation of its table 1, at small scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.models.daegan.layers import resized, sample
from mimicam.engine.models.daegan.network import PoseEmbedding
from mimicam.engine.types import Image
from mimicam.training.daegan.recipe import Batch, DaeGanRecipe
from mimicam.training.evaluation import metrics


def single_scale(face_N3TT: Tensor, embedding: PoseEmbedding) -> Tensor:
    """Warp the face at its full size and add nothing: a deforming autoencoder of one scale."""
    return sample(face_N3TT, resized(embedding.displacement, embedding.residual_high.shape[-1]))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    """Options of `DaeGanOptions` that differ from the paper's."""
    single_frame: bool = False
    """The face comes from one frame."""
    generated: bool = False
    """The picture is the generator's, in a second stage that starts from the row before those that
    have one; otherwise it is the embedders' reconstruction."""


_SINGLE = {"reconstruct": single_scale}
VARIANTS = (
    Variant(name="vanilla", options={**_SINGLE, "smoothness": 0.0}, single_frame=True),
    Variant(name="smoothness", options=_SINGLE, single_frame=True),
    Variant(name="multi-frame", options=_SINGLE),
    Variant(name="multi-scale"),
    Variant(name="adversarial", options={"feature_matching": 0.0}, generated=True),
    Variant(name="feature-matching", generated=True),
)
"""Rows in the paper's order; each adds one part to the row before."""
PAPER = {
    "vanilla": (0.65, 60.8),
    "smoothness": (0.68, 56.9),
    "multi-frame": (0.72, 47.1),
    "multi-scale": (0.73, 46.8),
    "adversarial": (0.73, 26.3),
    "feature-matching": (0.73, 24.8),
}
"""SSIM and FID of table 1, VoxCeleb1 at 256 pixels."""


def first_frame(batches: Callable[[int], Iterator[Batch]]) -> Callable[[int], Iterator[Batch]]:
    """Leave one portrait frame in each batch."""

    def stream(step: int) -> Iterator[Batch]:
        for batch in batches(step):
            yield one_frame(batch)

    return stream


def one_frame(batch: Batch) -> Batch:
    """Leave one portrait frame; the target stays."""
    return batch | {"frames": batch["frames"][:, :1]}


@torch.no_grad()
def measure(
    recipe: DaeGanRecipe,
    batches: list[Batch],
    variant: Variant,
    frechet: Callable[[list[Image], list[Image]], float] | None,
) -> dict[str, float]:
    """Compare pictures with the targets: SSIM, and a Frechet distance where its features are at
    hand."""
    fakes, reals = list[Image](), list[Image]()
    for batch in batches:
        given = one_frame(batch) if variant.single_frame else batch
        # Rows without a generator are judged by what the embedders reconstruct, as in the paper.
        drawn = recipe.generated(given) if variant.generated else recipe.reconstructed(given)
        fakes += _pictures(drawn)
        reals += _pictures(batch["target"])
    ssim = [metrics.ssim(fake, real) for fake, real in zip(fakes, reals, strict=True)]
    figures = {"ssim": float(np.mean(ssim))}
    return figures if frechet is None else figures | {"frechet": frechet(fakes, reals)}


def _pictures(images_N3SS: Tensor) -> list[Image]:
    if images_N3SS.is_floating_point():
        # Rounded to bytes, as a viewer and the other methods' pictures are.
        images_N3SS = ((images_N3SS.clamp(-1, 1) + 1) * 127.5).round().byte()
    return [np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()) for image in images_N3SS]
