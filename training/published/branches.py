"""Measure which branch carries expression and which pose, and give both their true names.

Nothing in the cyclic losses alone says which generator does what (the published checkpoint has its
branches under swapped names), so a trained model is measured before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.models.dpe import Dpe
from engine.types import Mode

Edit = Callable[[Tensor, Tensor, Mode], Tensor]
"""Source and driving pictures and a mode (``exp`` or ``pose``) to pictures."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Expression and pose read off pictures by something that was trained elsewhere."""

    expression: Tensor
    """``[N, E]``"""
    pose: Tensor
    """``[N, P]``"""


Reader = Callable[[Tensor], Reading]


@dataclass(frozen=True, kw_only=True)
class BranchReport:
    """How much of the driver's change each branch reproduces: 1 all of it, 0 nothing."""

    first_expression: float
    """Expression gain of the branch now called expression."""
    first_pose: float
    second_expression: float
    """Expression gain of the branch now called pose."""
    second_pose: float

    @property
    def preference(self) -> float:
        """Above 0: the names are right. Below: swapped. The gains' differences, added up."""
        return (self.first_expression - self.first_pose) + (self.second_pose - self.second_expression)

    @property
    def swapped(self) -> bool:
        """Whether the branches bear each other's names."""
        return self.preference < 0


def measure_branches(edit: Edit, read: Reader, pairs: Iterable[tuple[Tensor, Tensor]]) -> BranchReport:
    """Run both branches over batches of pairs (source, driving) and compare what moved.

    A gain is the least-squares factor between the driver's change and the result's change.
    """
    changes: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for source, driving in pairs:
            start, goal = read(source), read(driving)
            _note(changes, "driver", start, goal)
            for mode in (Mode.EXP, Mode.POSE):
                _note(changes, mode.value, start, read(edit(source, driving, mode)))
    if not changes:
        raise ValueError("pairs must hold at least one batch")
    gains = {
        (mode, what): _gain(changes[f"{mode}.{what}"], changes[f"driver.{what}"])
        for mode in ("exp", "pose")
        for what in ("expression", "pose")
    }
    return BranchReport(
        first_expression=gains["exp", "expression"],
        first_pose=gains["exp", "pose"],
        second_expression=gains["pose", "expression"],
        second_pose=gains["pose", "pose"],
    )


def name_branches(model: Dpe, report: BranchReport, *, least: float = 0.2) -> bool:
    """Exchange the branches in place if they bear each other's names; whether that was done.

    Raises EngineError where the measurement does not tell them apart by at least ``least``.
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


def _note(changes: dict[str, list[Tensor]], who: str, start: Reading, end: Reading) -> None:
    changes.setdefault(f"{who}.expression", []).append(end.expression - start.expression)
    changes.setdefault(f"{who}.pose", []).append(end.pose - start.pose)


def _gain(moved: list[Tensor], wanted: list[Tensor]) -> float:
    result, driver = torch.cat(moved).double().flatten(), torch.cat(wanted).double().flatten()
    power = driver.square().sum()
    return float((result @ driver) / power) if power > 0 else 0.0
