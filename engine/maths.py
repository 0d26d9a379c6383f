"""Small functions that several packages use."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

V = TypeVar("V", float, npt.NDArray[np.float32], npt.NDArray[np.float64])


def smoothstep(x: V) -> V:
    """Ease from 0 to 1 with slope 0 at both ends: ``x * x * (3 - 2 * x)`` of ``x`` clipped to 0..1."""
    # A NumPy scalar would turn the float32 arrays that it is multiplied with into float64.
    t = min(max(x, 0.0), 1.0) if isinstance(x, float) else np.clip(x, 0.0, 1.0)
    eased: V = t * t * (3 - 2 * t)
    return eased
