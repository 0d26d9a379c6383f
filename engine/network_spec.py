"""Specs of a network's inputs and outputs: the only list of their names, shapes and types.

Code, export, training and tests iterate over a `NetworkSpec`. Tensors travel between modules by
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Shapes = dict[str, tuple[int, ...]]
"""Shapes by tensor name, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output tensor."""

    name: str
    shape: tuple[int, ...]
    """Shape with a batch of one."""
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One network. Its tensors are in the order of the traced module and of exported files."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(tensor.name for tensor in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(tensor.name for tensor in self.outputs)

    def in_order(self, inputs: Mapping[str, T]) -> tuple[T, ...]:
        """Return the inputs' values in order.

        Raises:
            ValueError: an input is missing, or one is given that the network does not have.
        """
        if inputs.keys() != set(self.input_names):
            raise ValueError(f"{self.name} takes {', '.join(self.input_names)}; got {', '.join(inputs)}")
        return tuple(inputs[name] for name in self.input_names)

    def named_outputs(self, outputs: Iterable[T]) -> dict[str, T]:
        """Return the outputs by name; ``outputs`` are in order."""
        return dict(zip(self.output_names, outputs, strict=True))


def named(shapes: Shapes) -> tuple[TensorSpec, ...]:
    """Return float32 specs from names and shapes, in order."""
    return tuple(TensorSpec(name=name, shape=shape) for name, shape in shapes.items())
