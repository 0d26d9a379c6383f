"""Measure which branch carries expression and which pose, and name both accordingly.

The cyclic losses alone do not decide which generator does what: in the published checkpoint the
names are swapped. So a trained model is measured before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.types import Mode

Edit = Callable[[Tensor, Tensor, Mode], Tensor]
"""Maps source and driving pictures and a mode (``exp`` or ``pose``) to pictures."""


@dataclass(frozen=True, kw_only=True)
class FaceMeasure:
    """Expression and pose of pictures, measured by a network that was trained elsewhere."""

    expression: Tensor
    """``[N, E]``"""
    pose: Tensor
    """``[N, P]``"""


Reader = Callable[[Tensor], FaceMeasure]


@dataclass(frozen=True, kw_only=True)
class BranchReport:
    """Gain of each branch: the share of the driver's change that it reproduces, 0 to 1."""

    first_expression: float
    """Expression gain of the branch now called expression."""
    first_pose: float
    second_expression: float
    """Expression gain of the branch now called pose."""
    second_pose: float

    @property
    def preference(self) -> float:
        """Sum of the differences of the gains: above 0 the names are right, below 0 they are
        swapped."""
        return (self.first_expression - self.first_pose) + (self.second_pose - self.second_expression)

    @property
    def swapped(self) -> bool:
        """True if the branches have each other's names."""
        return self.preference < 0


def measure_branches(edit: Edit, read: Reader, pairs: Iterable[tuple[Tensor, Tensor]]) -> BranchReport:
    """Run both branches over batches of pairs (source, driving), and measure how far the results
    follow the driver.

    Measures of results are fitted by least squares as ``a * driver + b * source + mean``; the gain
    is ``a``. A branch that always gives the same picture has gain 0, and so has one that copies its
    source.
    """
    seen: dict[str, list[FaceMeasure]] = {}
    with torch.no_grad():
        for source, driving in pairs:
            seen.setdefault("source", []).append(read(source))
            seen.setdefault("driver", []).append(read(driving))
            for mode in (Mode.EXP, Mode.POSE):
                seen.setdefault(mode.value, []).append(read(edit(source, driving, mode)))
    if not seen:
        raise ValueError("pairs must hold at least one batch")
    expression = {who: _centred([r.expression for r in readings]) for who, readings in seen.items()}
    pose = {who: _centred([r.pose for r in readings]) for who, readings in seen.items()}
    return BranchReport(
        first_expression=_gain(expression, "exp"),
        first_pose=_gain(pose, "exp"),
        second_expression=_gain(expression, "pose"),
        second_pose=_gain(pose, "pose"),
    )


def name_branches(model: Dpe, report: BranchReport, *, least: float = 0.5) -> bool:
    """Exchange the branches in place if their names are swapped; return whether they were.

    A perfect model has a preference of 2; an untrained one was measured at 0.3 over 24 pairs and
    0.6 over 8.

    Raises:
        EngineError: the preference is smaller than ``least``, so the branches cannot be told apart.
    """
    if abs(report.preference) < least:
        raise EngineError(
            f"the branches do not differ yet ({report.preference:.2f}, {least} is needed): train longer"
        )
    if report.swapped:
        exchange(model)
    return report.swapped


def exchange(model: Dpe) -> None:
    """Swap the two motion heads and the two generators, in place."""
    motion = model.motion
    motion.expression, motion.pose = motion.pose, motion.expression
    first, second = model.expression_generator, model.pose_generator
    model.expression_generator, model.pose_generator = second, first


def _centred(readings: list[Tensor]) -> Tensor:
    """Flatten all values of all pairs, each minus its mean over the pairs."""
    # Centred per value: a person's constant looks must not count as following.
    values = torch.cat(readings).double()
    return (values - values.mean(0)).flatten()


def _gain(values: dict[str, Tensor], result: str) -> float:
    # The source is a regressor too, or copying it would look like following a similar driver.
    causes = torch.stack((values["driver"], values["source"]), 1)
    return float((torch.linalg.pinv(causes) @ values[result])[0])
