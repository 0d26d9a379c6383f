"""Grow the compact preset from 64 to 128 and 256 pixels, without a change of what it computes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
_HEADS, _READ = "generator.heads.", "encoder.hidden.weight"


def grown(small: State, fresh: State) -> State:
    """Return the weights of a larger compact model, which start from those of a smaller one.

    Convolutions of a folded picture are spread over the larger fold, so that they read the picture
    as if it were averaged down. Levels of the generator that the smaller model lacks keep their
    fresh weights, and their heads add nothing at first.

    Args:
        small: state of the smaller model; one of the same size is returned as it is, with the layers
            that it lacks: what they add is close to nothing at first.
        fresh: state of the larger model as it was built.

    Raises:
        ValueError: the states are not of compact models whose size differs by a power of two.
    """
    out: State = {}
    for name, value in fresh.items():
        if name not in small:
            # New heads add to the picture of the smaller level, so zeros leave that unchanged.
            out[name] = torch.zeros_like(value) if name.startswith(_HEADS) else value
        elif small[name].shape == value.shape:
            out[name] = small[name]
        elif name.endswith(_READ):
            # Runs from before there was a finder read the features alone.
            out[name] = F.pad(small[name], (0, value.shape[1] - small[name].shape[1]))
        else:
            out[name] = _spread(small[name], value.shape)
    if small.keys() - fresh.keys():
        raise ValueError("small must be the state of a smaller compact model")
    return out


def _spread(weight_OIhw: Tensor, shape: torch.Size) -> Tensor:
    """Spread a convolution of ``3 * fold * fold`` channels over a larger fold."""
    out_channels, channels, height, width = weight_OIhw.shape
    fold, larger = (math.isqrt(count // 3) for count in (channels, shape[1]))
    by = larger // fold
    if shape != (out_channels, 3 * (fold * by) ** 2, height, width) or channels != 3 * fold**2:
        raise ValueError("small must be the state of a smaller compact model")
    # Channels of a folded picture: colour, then row and column inside of the fold.
    parts = weight_OIhw.reshape(out_channels, 3, fold, fold, height, width) / by**2
    parts = parts.repeat_interleave(by, 2).repeat_interleave(by, 3)
    return parts.reshape(shape)
