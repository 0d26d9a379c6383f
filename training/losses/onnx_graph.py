"""Run an ONNX file in PyTorch with gradients, so that the tracker's networks can be a loss.

It implements the operators of those two networks, and refuses any other with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

from mimicam.engine.errors import EngineError

Attributes = dict[str, Any]


class OnnxGraph(nn.Module):
    """A frozen network. It is called with its inputs in order, and returns its outputs in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise EngineError(f"{path} is missing: give an ONNX file")
        graph = onnx.load(path).graph
        unknown = sorted({node.op_type for node in graph.node} - _OPERATORS.keys())
        if unknown:
            raise EngineError(f"{path.name} uses {', '.join(unknown)}, which this loss cannot run")
        constants = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = [_Node(node, constants, path.name) for node in graph.node]
        # Numbered names: ONNX allows dots and slashes, which a buffer's name may not have.
        self._index = {t.name: f"constant_{k}" for k, t in enumerate(graph.initializer)}
        for tensor in graph.initializer:
            # Copied: ONNX's arrays are read-only views of the file's bytes.
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self.register_buffer(self._index[tensor.name], value)
        self._inputs = [i.name for i in graph.input if i.name not in self._index]
        self._outputs = [o.name for o in graph.output]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Tensor] = {name: getattr(self, at) for name, at in self._index.items()}
        # Every value by its name; nodes are in topological order (ONNX requires it).
        values |= dict(zip(self._inputs, inputs, strict=True))
        for node in self._nodes:
            values[node.output] = node.run(values)
        return tuple(values[name] for name in self._outputs)


class _Node:
    """One operator; its shapes, axes and pads are read when the file is, since a tensor's numbers
    cost a synchronisation."""

    def __init__(self, node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], file: str) -> None:
        self.kind, self.inputs, self.output = node.op_type, list(node.input), node.output[0]
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.numbers: dict[int, list[int]] = {}
        """Inputs that are Python's numbers, by position."""
        for position in _NUMBERS.get(self.kind, ()):
            name = self.inputs[position] if position < len(self.inputs) else ""
            if not name:
                continue
            if name not in constants:
                raise EngineError(
                    f"{file} computes shapes of {self.kind} as it runs, which this loss cannot follow"
                )
            self.numbers[position] = numpy_helper.to_array(constants[name]).reshape(-1).tolist()

    def run(self, values: Mapping[str, Tensor]) -> Tensor:
        """Its output, from the values that there are by name."""
        given = [
            self.numbers[k] if k in self.numbers else (values[name] if name else None)
            for k, name in enumerate(self.inputs)
        ]
        return _OPERATORS[self.kind](self.attributes, *given)


_NUMBERS = {
    "Pad": (1,),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "ReduceMean": (1,),
    "ReduceSum": (1,),
    "Squeeze": (1,),
}
"""Inputs of an operator that are constants, not tensors."""


def _convolution(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # ONNX pads top, left, bottom, right, possibly unevenly; PyTorch's own padding is symmetric.
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, weight, bias, stride=a.get("strides", 1), groups=a.get("group", 1))


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    if any(a.get("pads", ())):
        raise EngineError("a max-pooling with padding cannot be run as a loss")
    return F.max_pool2d(x, a["kernel_shape"], stride=a["strides"])


def _pad(_: Attributes, x: Tensor, pads: list[int], *__: Tensor | None) -> Tensor:
    rank = x.dim()
    # ONNX lists all beginnings, then all ends; PyTorch wants pairs from the last axis on.
    sides = [(pads[k], pads[k + rank]) for k in reversed(range(rank))]
    return F.pad(x, [n for side in sides for n in side])


def _reshape(_: Attributes, x: Tensor, shape: list[int]) -> Tensor:
    # A 0 keeps the axis (ONNX, "Reshape").
    return x.reshape([x.shape[k] if n == 0 else n for k, n in enumerate(shape)])


def _slice(_: Attributes, x: Tensor, starts: list[int], ends: list[int], *rest: list[int]) -> Tensor:
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index = [slice(None)] * x.dim()
        index[axis] = slice(start, end, step)
        x = x[tuple(index)]
    return x


def _reduce(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(a: Attributes, x: Tensor, axes: list[int] | None = None) -> Tensor:
        along = axes if axes is not None else a.get("axes", list(range(x.dim())))
        return how(x, along, keepdim=bool(a.get("keepdims", 1)))

    return run


def _squeeze(_: Attributes, x: Tensor, axes: list[int] | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Div": lambda _, a, b: a / b,
    "Neg": lambda _, a: -a,
    "Sqrt": lambda _, a: a.sqrt(),
    "Reciprocal": lambda _, a: a.reciprocal(),
    "Relu": lambda _, a: a.relu(),
    "Sigmoid": lambda _, a: a.sigmoid(),
    "Transpose": lambda attributes, a: a.permute(*attributes["perm"]),
    "Concat": lambda attributes, *parts: torch.cat(parts, attributes["axis"]),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Conv": _convolution,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
}
