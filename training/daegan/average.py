"""A running average of DAE-GAN's weights."""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.presets import build


class Average:
    """Networks whose weights follow those of the trained ones."""

    def __init__(self, model: DaeGanNetworks, decay: float) -> None:
        """Start from the model's weights."""
        device = next(model.parameters()).device
        self.model = build(model.config).to(device).requires_grad_(False)
        self._decay = decay
        self._own, self._buffers = _values(self.model)
        self.restart(model)

    def restart(self, model: DaeGanNetworks) -> None:
        """Take over the model's weights."""
        self.model.load_state_dict(model.state_dict())

    @torch.no_grad()
    def follow(self, model: DaeGanNetworks, step: int) -> None:
        """Move towards the model's weights, and copy its batch statistics, which are averages
        already."""
        # A short memory at first, or the average would keep the weights that it started from.
        decay = min(self._decay, (step + 1) / (step + 10))
        weights, buffers = _values(model)
        torch._foreach_lerp_(self._own, weights, 1 - decay)
        if buffers:
            torch._foreach_copy_(self._buffers, buffers)


def _values(model: DaeGanNetworks) -> tuple[list[Tensor], list[Tensor]]:
    return list(model.parameters()), list(model.buffers())
