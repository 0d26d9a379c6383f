"""Smooth recorded values over time, without delay: the values after a moment are known too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mimicam.engine.types import Float

Times = npt.NDArray[np.float64]
"""Seconds ``[N]``, increasing."""
_REACH = 2.5
"""Standard deviations on both sides that a kernel covers."""


def gaussian(values: Float, times_s: Times, sigma_s: float) -> Float:
    """Return values ``[N, C]`` smoothed by a Gaussian in time, whatever the frame rate is.

    A line is fitted around each time: at the ends, where a mean would look to one side only, values
    that move steadily are kept too.
    """
    out = np.empty_like(values)
    for index, (near, weights) in enumerate(kernels(times_s, sigma_s)):
        mean = weights @ values[near]
        mean_s = float(weights @ times_s[near])
        lever = weights * (times_s[near] - mean_s)
        spread = float(lever @ (times_s[near] - mean_s))
        # A local line instead of a mean: at the ends of a run a mean would lag by half a kernel.
        slope = lever @ (values[near] - mean) / max(spread, 1e-9)
        out[index] = mean + slope * (times_s[index] - mean_s)
    return out


def kernels(times_s: Times, sigma_s: float) -> Iterator[tuple[slice, Float]]:
    """Yield for each time the frames around it and their weights, which sum to 1."""
    first = np.searchsorted(times_s, times_s - _REACH * sigma_s, side="left")
    last = np.searchsorted(times_s, times_s + _REACH * sigma_s, side="right")
    for time_s, start, stop in zip(times_s, first, last, strict=True):
        weights = np.exp(-0.5 * ((times_s[start:stop] - time_s) / sigma_s) ** 2)
        yield slice(int(start), int(stop)), (weights / weights.sum()).astype(np.float32)
