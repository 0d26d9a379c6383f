"""A stand-in for a GPU, for rehearsals and tests."""

from __future__ import annotations

from collections.abc import Callable

import torch


class HostGpu:
    """The machine's own processor in a GPU's place, for rehearsals: work is done when it is
    queued."""

    name, compute_capability, driver, stream = "rehearsal on the CPU", "0.0", "none", 0

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """See ``Gpu``."""
        return torch.zeros(shape, dtype=dtype)

    pinned = empty

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Gpu``."""
        work()
        return work

    def on_stream(self, work: Callable[[], None]) -> None:
        """See ``Gpu``."""
        work()

    def wait_for_current_stream(self) -> None:
        """See ``Gpu``."""

    def record_event(self) -> Callable[[], None]:
        """See ``Gpu``."""
        return lambda: None
