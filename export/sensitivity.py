"""Measure how much each layer of a network loses when it alone computes in a smaller type.

One layer at a time, its weights, inputs and outputs are rounded to the type, on frames of a clip.
Everything else stays float32. The export keeps the layers that lose most in float32. Grids always
are float32 (``export.half``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mimicam.export.clip_inputs import Arrays
from mimicam.export.networks import Network

THRESHOLD = 1e-3
"""Error of an output, as a share of its largest magnitude, above which a layer is kept: a fifth of
what a whole fp16 network may lose (``engine.backends.export_folder.LIMITS``), and a quarter of a
grey level at the picture's end."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """One layer, rounded alone."""

    layer: str
    worst: float
    """Largest error of any output over all frames, as a share of that output's largest
    magnitude."""
    mean: float
    """Mean absolute error, same unit: what is seen as noise, where ``worst`` may be one pixel at an
    edge."""


def layers(module: nn.Module) -> dict[str, nn.Module]:
    """The layers that have a weight of their own, by name: convolutions and linear layers of any
    kind."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if name and isinstance(weight := getattr(layer, "weight", None), Tensor) and weight.dim() >= 2
    }


def measure(
    network: Network,
    inputs: Sequence[Arrays],
    dtype: torch.dtype,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Sensitivity]:
    """Every layer's loss, the worst first."""
    found, want = [], [_outputs(network, each) for each in inputs]
    candidates = layers(network.module)
    for index, (name, layer) in enumerate(candidates.items()):
        with rounded(layer, dtype):
            got = [_outputs(network, each) for each in inputs]
        found.append(_loss(name, want, got))
        progress(index + 1, len(candidates))
    return sorted(found, key=lambda each: -each.worst)


def kept(found: Sequence[Sensitivity], threshold: float) -> frozenset[str]:
    """Layers that stay in float32."""
    # Negated, so that a NaN is kept in float32 too.
    return frozenset(each.layer for each in found if not each.worst <= threshold)


def node_prefix(layer: str) -> str:
    """How the names of a layer's nodes begin in an exported file: ``levels.0.up`` becomes
    ``/levels.0/up/``."""
    parts: list[str] = []
    for part in layer.split("."):
        # The exporter joins a list's index to its name with a dot, and modules with slashes.
        if part.isdecimal() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return "/" + "/".join(parts) + "/"


@contextmanager
def rounded(layer: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within it one layer computes as if in that type; accumulation stays float32, as tensor cores
    do it."""

    def before(_layer: nn.Module, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_as(value, dtype) for value in values)

    def after(_layer: nn.Module, _values: tuple[Any, ...], result: Any) -> Any:
        return tuple(_as(r, dtype) for r in result) if isinstance(result, tuple) else _as(result, dtype)

    handles = [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    # Scalars (rank 0) are counters, such as a normalisation's, not weights.
    tensors = [t for t in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)) if t.dim()]
    # Kept and restored bit for bit: rounding back would not undo rounding.
    whole = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(_as(tensor, dtype))
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, whole, strict=True):
                tensor.copy_(value)
        for handle in handles:
            handle.remove()


def _as(value: Any, dtype: torch.dtype) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    # Rounded values in the wider type, so that the layer's own arithmetic stays exact.
    return value.to(dtype).to(value.dtype)


def _outputs(network: Network, inputs: Arrays) -> dict[str, np.ndarray]:
    return dict(network.with_inputs(inputs).reference_arrays())


def _loss(
    name: str, want: Sequence[dict[str, np.ndarray]], got: Sequence[dict[str, np.ndarray]]
) -> Sensitivity:
    worst = mean = 0.0
    for before, after in zip(want, got, strict=True):
        for output, value in before.items():
            # Of the whole output: a relative error per value would explode near zero.
            size = max(float(np.abs(value).max()), 1e-12)
            error = np.abs(after[output].astype(np.float64) - value) / size
            # An overflow to infinity is the worst loss, and comparisons with NaN would hide it.
            if not np.isfinite(error).all():
                return Sensitivity(layer=name, worst=float("inf"), mean=float("inf"))
            worst, mean = max(worst, float(error.max())), max(mean, float(error.mean()))
    return Sensitivity(layer=name, worst=worst, mean=mean)
