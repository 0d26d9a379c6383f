"""Take the tremble out of what is read, by the frames' own times.

The one-euro filter: a low pass whose cut-off rises with speed, so that a still face is still and a quick one
is not late (Casiez, Roussel and Vogel, "1 € Filter", CHI 2012).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimicam.engine.types import Float


class OneEuro:
    """Filters a vector, each component alike."""

    def __init__(self, *, cutoff_hz: float, beta: float, speed_cutoff_hz: float = 1.0) -> None:
        """``beta``: how many Hz the cut-off rises per unit and second of speed."""
        self._cutoff_hz, self._beta, self._speed_cutoff_hz = cutoff_hz, beta, speed_cutoff_hz
        self._value: Float | None = None
        self._speed: Float = np.zeros(0, np.float32)
        self._time_ns = 0

    def reset(self) -> None:
        """Start from the next value."""
        self._value = None

    def __call__(self, value: Float, time_ns: int) -> Float:
        """The filtered value at this time; a time that does not advance returns the last."""
        if self._value is None:
            self._value, self._time_ns = value.astype(np.float32), time_ns
            self._speed = np.zeros_like(self._value)
            return self._value
        seconds = (time_ns - self._time_ns) * 1e-9
        if seconds <= 0:
            return self._value
        self._speed += _share(self._speed_cutoff_hz, seconds) * (
            (value - self._value) / seconds - self._speed
        )
        share = _share(self._cutoff_hz + self._beta * np.abs(self._speed), seconds)
        # A new array, not +=: whoever got the last one may hold it.
        self._value = (self._value + share * (value - self._value)).astype(np.float32, copy=False)
        self._time_ns = time_ns
        return self._value


def _share(cutoff_hz: npt.ArrayLike, seconds: float) -> Float:
    share: Float = np.asarray(1.0 - np.exp(-2 * np.pi * np.asarray(cutoff_hz) * seconds), np.float32)
    return share
