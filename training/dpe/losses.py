"""The objective of DPE, one function per equation (section 3.3).

Pictures are ``[N, 3, S, S]`` in -1..1; every loss is a scalar. The pair <S', D'> has no truth. Its
losses must not train the pose generator, so D' is detached there ("asymmetric back-propagation",
section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.training.dpe.cyclic import Cycle

Distance = Callable[[Tensor, Tensor], Tensor]
"""Maps two batches of pictures to a scalar; gradients go to the first."""
FaceFeatures = Callable[[Tensor, Tensor], Tensor]
"""Maps pictures, and landmarks ``[N, 478, 3]`` that place the faces in them (crop space), to
expression features ``[N, E]``."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses in equation 12 (section 4.1: both 20)."""

    perceptual: float = 20.0
    expression: float = 20.0


def intermediate_pair(cycle: Cycle) -> tuple[Tensor, Tensor]:
    """Return <S', D'> with D' detached: losses between them do not train what drew D'."""
    return cycle.source_1, cycle.driving_1.detach()


def reconstruction_loss(cycle: Cycle) -> Tensor:
    """Equation 8: mean absolute error over the three pairs."""
    return (
        F.l1_loss(cycle.source_2, cycle.driving)
        + F.l1_loss(cycle.driving_2, cycle.source)
        + F.l1_loss(*intermediate_pair(cycle))
    )


def perceptual_loss(cycle: Cycle, distance: Distance) -> Tensor:
    """Equation 9: the three pairs, and both generators' reconstruction of their own source."""
    return (
        distance(cycle.source_2, cycle.driving)
        + distance(cycle.driving_2, cycle.source)
        + distance(*intermediate_pair(cycle))
        + distance(cycle.self_expression, cycle.source)
        + distance(cycle.self_pose, cycle.source)
    )


def expression_loss(
    cycle: Cycle, features: FaceFeatures, source_landmarks_NL3: Tensor, driving_landmarks_NL3: Tensor
) -> Tensor:
    """Equation 10: S' has the driver's expression, and D' keeps it.

    Only this loss decides which branch is expression: e(S, D) must change it, p(D, S) must not.
    """
    with torch.no_grad():
        # The face network is a fixed measure: no gradient flows to the driver's features.
        wanted = features(cycle.driving, driving_landmarks_NL3)
    # S' and D' both have the source's pose, so their faces are where the source's is.
    found = (features(picture, source_landmarks_NL3) for picture in (cycle.source_1, cycle.driving_1))
    return torch.stack([F.l1_loss(each, wanted) for each in found]).sum()


def adversarial_loss(cycle: Cycle, discriminator: nn.Module) -> Tensor:
    """Equation 11: non-saturating, on S'' and D''."""
    scores: Tensor = discriminator(cycle.source_2)
    more: Tensor = discriminator(cycle.driving_2)
    return F.softplus(-scores).mean() + F.softplus(-more).mean()


def total_loss(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Equation 12: the weighted sum of the four terms, which are given by name."""
    return (
        terms["reconstruction"]
        + weights.perceptual * terms["perceptual"]
        + weights.expression * terms["expression"]
        + terms["adversarial"]
    )


def discriminator_loss(discriminator: nn.Module, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Equation 11 for the discriminator: mean over its batches; ``fake`` must be detached.

    Each batch is scored alone, as the generator's are: the spread channel depends on what is scored
    together, and two frames of one clip are alike.
    """
    costs = [F.softplus(-discriminator(batch)).mean() for batch in real]
    costs += [F.softplus(discriminator(batch)).mean() for batch in fake]
    return torch.stack(costs).sum() / len(real)


def gradient_penalty(discriminator: nn.Module, real: Sequence[Tensor]) -> Tensor:
    """R1 (Mescheder et al., ICML 2018): mean squared gradient norm of the score at real pictures,
    over batches that are scored alone."""
    return torch.stack([_gradient_penalty(discriminator, batch) for batch in real]).mean()


def _gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    # The penalty needs the gradient at the pictures themselves.
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
