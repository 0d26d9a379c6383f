"""Read the trunk of DAE-GAN's compact preset from the tracker's landmark network."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimicam.engine.face.networks import LANDMARK_NETWORK
from mimicam.engine.models.daegan.face_trunk import FaceTrunk
from mimicam.engine.silent_imports import ov

_LAYERS = ("Convolution", "GroupConvolution", "PRelu")


def read_trunk() -> dict[str, Tensor]:
    """Return the trunk's state, read from the file that ships with the tracker.

    Its last layers, which make landmarks of the features, are left out.
    """
    operations = ov.Core().read_model(LANDMARK_NETWORK).get_ordered_ops()
    # The file's order of layers is the trunk's, so they need no names.
    layers = iter(operation for operation in operations if operation.get_type_name() in _LAYERS)
    trunk = FaceTrunk()
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d | nn.PReLU):
            layer = next(layers)
            _copy(module.weight, layer)
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                # The bias is the addition behind a convolution.
                (behind,) = layer.output(0).get_target_inputs()
                _copy(module.bias, behind.get_node())
    return trunk.state_dict()


def _copy(parameter: Tensor, operation: Any) -> None:
    """Copy the constant input of an operation."""
    values = torch.tensor(_constant(operation.input(1)))
    assert values.numel() == parameter.numel(), "the tracker ships another landmark network"
    parameter.data.copy_(values.reshape(parameter.shape))


def _constant(given: Any) -> npt.NDArray[np.float32]:
    """Compute an operation's input that only depends on constants."""
    node = given.get_source_output().get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.array(node.data)
    first = _constant(node.input(0))
    if kind == "Transpose":
        return first.transpose(_constant(node.input(1)).astype(int))
    # What is left changes precision or shape.
    return first.astype(np.float32).reshape(node.get_output_shape(0))
