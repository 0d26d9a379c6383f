"""Layers that share weights get weights of their own, and compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.backends.openvino import CompiledNetwork, OpenVinoNetwork
from mimicam.engine.silent_imports import ov


def twice(kind: type[np.floating]) -> ov.Model:
    """Build a network whose two layers have the same slopes, and the same shape constant."""
    ops = ov.opset13
    x = ops.parameter([1, 2, 4], np.float32, name="x")
    slopes, shape = ops.constant(np.array([0.5, -1], kind)), ops.constant(np.array([1, 2, 4]))
    if kind is not np.float32:
        slopes = ops.convert(slopes, "f32")
    first = ops.prelu(ops.reshape(x, shape, special_zero=False), slopes)
    return ov.Model([ops.prelu(ops.reshape(first, shape, special_zero=False), slopes)], [x], "twice")


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_layers_get_weights_of_their_own(kind: type[np.floating]) -> None:
    graph = twice(kind)
    CompiledNetwork.of(graph)
    slopes = [
        one.input_value(1).get_node() for one in graph.get_ordered_ops() if one.get_type_name() == "PRelu"
    ]
    assert len({node.get_friendly_name() for node in slopes}) == 2


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_they_compute_the_same(kind: type[np.floating]) -> None:
    x = np.array([[[1, -2, 3, -4], [-1, 2, -3, 4]]], np.float32)
    (got,) = OpenVinoNetwork(twice(kind))(x)
    # Twice: negative values times the slope, whose sign changes in the second row.
    np.testing.assert_allclose(got, [[[1, -0.5, 3, -1], [1, 2, 3, 4]]])
