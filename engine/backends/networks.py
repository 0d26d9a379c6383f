"""The interface of backends: run networks by name, with tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float

Value = Any
"""An array where the backend keeps it: NumPy's, or a tensor on a device. Values add with ``+``."""


class Networks(Protocol):
    """A model's networks on one backend. Not thread-safe."""

    def load(self, array: Float) -> Value:
        """Bring an array to where the networks compute."""

    def fetch(self, value: Value) -> npt.NDArray[Any]:
        """A value as an array of its own, which later runs leave alone; float32, or uint8 for
        pictures."""

    def view(self, value: Value) -> npt.NDArray[Any]:
        """A value as an array that the network's next run may overwrite."""

    def output_shapes(self, network: str) -> Shapes:
        """Shapes of a network's outputs by name, in order, with a batch of one."""

    def run(self, network: str, **inputs: Value) -> Mapping[str, Value]:
        """Outputs by name; the network's next run may overwrite them.

        Raises:
            ValueError: the inputs are not those of the network's spec.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Facts of loaded weights, for people and for enrolled portraits."""

    name: str
    sha256: str
    size: int
    """Side of the crop, pixels."""
    backend: str


class Resident:
    """A portrait's features, brought to where the networks compute once."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._key: object = None
        self._values: dict[str, Value] = {}

    def __call__(self, key: object, arrays: Mapping[str, Float]) -> dict[str, Value]:
        """Return the arrays as values. A ``key`` other than the last one, by identity, loads them
        again."""
        # By identity: comparing the arrays would cost more than loading them.
        if self._key is not key:
            self._values = {name: self._networks.load(array) for name, array in arrays.items()}
            self._key = key
        return self._values


def own_array(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy in float32, or in uint8 where it is that."""
    return np.array(value) if value.dtype == np.uint8 else np.array(value, np.float32)
