"""The bidirectional cyclic strategy of DPE (section 3.2, figure 3).

It applies the driver's expression, then its pose, to the source. It applies the source's pose, then
its expression, to the driver. And it runs each generator on its own picture. Shape letters: N
pairs, S side of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mimicam.engine.models.dpe.network import Dpe


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Every picture of one pass, ``[N, 3, S, S]`` each; the names are the paper's."""

    source: Tensor
    """S"""
    driving: Tensor
    """D, another frame of the same clip."""
    source_1: Tensor
    """S' = e(S, D): the source with the driver's expression (equation 6)."""
    source_2: Tensor
    """S'' = p(S', D): and with its pose (equation 7)."""
    driving_1: Tensor
    """D' = p(D, S): the driver with the source's pose."""
    driving_2: Tensor
    """D'' = e(D', S): and with its expression."""
    self_expression: Tensor
    """e(S, S)"""
    self_pose: Tensor
    """p(S, S)"""


def run_cycle(model: Dpe, source: Tensor, driving: Tensor) -> Cycle:
    """Run one pass over pairs of frames of one clip each, with gradients."""
    s, d = model.encode(source), model.encode(driving)
    of_s, of_d = model.codes(s.latent), model.codes(d.latent)
    source_1 = model.generate_expression(s.latent + of_d.expression, s.features)
    driving_1 = model.generate_pose(d.latent + of_s.pose, d.features)
    # Second half of the cycle: the edited pictures are encoded again and get the other code.
    s_1, d_1 = model.encode(source_1), model.encode(driving_1)
    return Cycle(
        source=source,
        driving=driving,
        source_1=source_1,
        source_2=model.generate_pose(s_1.latent + of_d.pose, s_1.features),
        driving_1=driving_1,
        driving_2=model.generate_expression(d_1.latent + of_s.expression, d_1.features),
        self_expression=model.generate_expression(s.latent + of_s.expression, s.features),
        self_pose=model.generate_pose(s.latent + of_s.pose, s.features),
    )
