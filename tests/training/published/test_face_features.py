"""The tracker as a loss: what goes into its two networks, and that gradients come back. Stand-in networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.stages.track import BLENDSHAPE_LANDMARKS
from training.published.face import TrackerFeatures

PER_POINT = np.arange(478, dtype=np.float32)
WEIGHT = np.random.default_rng(0).standard_normal((1, 146, 2)).astype(np.float32)


def save(path: Path, nodes: list, constants: dict[str, np.ndarray], shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def features(tmp_path: Path) -> TrackerFeatures:
    """Landmark k is k times the picture's mean colour; blendshapes are two weighted sums of the chosen."""
    node = helper.make_node
    landmarks = [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("ReduceMean", ["a"], ["b"], axes=[2, 3], keepdims=1),
        node("Mul", ["b", "k"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        node("Reshape", ["d", "shape"], ["y"]),
    ]
    shapes = [node("Mul", ["x", "w"], ["a"]), node("ReduceSum", ["a", "axes"], ["y"], keepdims=0)]
    numbers = {"k": PER_POINT[None, None, None], "shape": np.array([0, 1, 1, 1434])}
    return TrackerFeatures(
        save(tmp_path / "points.onnx", landmarks, numbers, [1, 256, 256, 3]),
        save(tmp_path / "shapes.onnx", shapes, {"w": WEIGHT, "axes": np.array([1])}, [1, 146, 2]),
    )


def test_pictures_reach_the_networks_in_zero_to_one_and_only_chosen_points_count(
    features: TrackerFeatures,
) -> None:
    red_green = torch.tensor([[0.25, 0.5], [1.0, 0.0]])
    colour = torch.cat((red_green, torch.zeros(2, 1)), 1)
    image = (colour * 2 - 1)[:, :, None, None].expand(2, 3, 64, 64)
    want = (PER_POINT[BLENDSHAPE_LANDMARKS][None, :, None] * WEIGHT).sum(1) * red_green.numpy()
    np.testing.assert_allclose(features(image).numpy(), want, rtol=1e-3)


def test_gradients_reach_the_picture_and_nothing_else(features: TrackerFeatures) -> None:
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    features(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad[:, :2].abs().sum((1, 2, 3)) > 0).all()
    assert list(features.parameters()) == []


def test_a_reading_holds_expression_and_rigid_points_in_units_of_the_side(features: TrackerFeatures) -> None:
    image = torch.ones(2, 3, 32, 32)
    reading = features.read(image)
    assert torch.equal(reading.expression, features(image))
    assert reading.pose.shape == (2, 6 * 3)
    assert reading.pose[0, 0].item() == pytest.approx(33 / 256)
