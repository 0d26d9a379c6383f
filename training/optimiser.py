"""Adam that leaves the weights alone when a step has gone wrong, without asking the device whether it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def guarded_adam(
    parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Fused Adam for `step_if_finite`. A state that another Adam saved loads as one of a fused one."""
    optimiser = torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)

    def as_fused(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [{**group, "fused": True, "foreach": None} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    optimiser.register_load_state_dict_pre_hook(as_fused)
    return optimiser


def step_if_finite(optimiser: torch.optim.Adam, witness: Tensor) -> Tensor:
    """One step where ``witness`` (a gradient norm or a loss) is finite, none where it is not.

    The kernel itself skips the step, as for ``torch.amp.GradScaler``: one poisoned step would poison the weights, both
    moments and the running average for good.

    Returns:
        1 where the step was skipped, else 0, on the device.
    """
    broken = (~torch.isfinite(witness)).float()
    optimiser.found_inf = broken  # type: ignore[attr-defined]
    optimiser.step()
    return broken
