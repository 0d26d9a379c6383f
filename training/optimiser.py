"""Adam that skips steps whose gradients are not finite, without reading anything from the
device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def guarded_adam(
    parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Make a fused Adam for `step_if_finite`.

    It also loads the state of an Adam that was not fused.
    """
    optimiser = torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)

    def as_fused(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [{**group, "fused": True, "foreach": None} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    optimiser.register_load_state_dict_pre_hook(as_fused)
    return optimiser


def step_if_finite(optimiser: torch.optim.Adam, witness: Tensor) -> Tensor:
    """Take a step if ``witness`` (a gradient norm or a loss) is finite.

    The kernel itself skips the step, as for ``torch.amp.GradScaler``. A single step that is not
    finite would spoil the weights, both moments and the running average for good.

    Returns:
        1 where the step was skipped, else 0, on the device.
    """
    broken = (~torch.isfinite(witness)).float()
    # The fused kernel reads this flag on the device and leaves weights and moments alone where it
    # is 1.
    optimiser.found_inf = broken  # type: ignore[attr-defined]
    optimiser.step()
    return broken
