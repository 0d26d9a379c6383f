"""The networks behind equations 9 and 10: the ONNX runner against onnx's own, VGG's features, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mimicam.engine.errors import EngineError
from mimicam.training.losses.onnx_graph import OnnxGraph
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.losses.vgg import VggDistance
from tests.training.random_features import RandomFeatures

RNG = np.random.default_rng(0)


def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def save(path: Path, nodes: list, constants: list, shape: list[int], outputs: list[str]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def network(path: Path) -> Path:
    """Every operator the tracker's networks use, with their odd paddings and slices."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("Conv", ["a", "w1", "b1"], ["b"], strides=[2, 2], pads=[0, 0, 1, 1], kernel_shape=[3, 3]),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["c", "w2"], ["d"], group=4, pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", ["e", "pads"], ["f"]),
        node("Sub", ["f", "two"], ["g"]),
        node("Mul", ["g", "two"], ["h"]),
        node("ReduceMean", ["h"], ["i"], axes=[1], keepdims=1),
        node("Slice", ["h", "start", "end", "axis", "stride"], ["j"]),
        node("Concat", ["i", "j"], ["k"], axis=1),
        node("ReduceSum", ["k", "axes"], ["l"], keepdims=1),
        node("Sigmoid", ["l"], ["m"]),
        node("Sqrt", ["m"], ["n"]),
        node("Reciprocal", ["n"], ["o"]),
        node("Neg", ["o"], ["p"]),
        node("Div", ["p", "two"], ["q"]),
        node("Add", ["q", "m"], ["r"]),
        node("Squeeze", ["r", "axes"], ["s"]),
        node("Reshape", ["s", "shape"], ["y"]),
    ]
    constants = [
        constant("w1", weights(4, 3, 3, 3)),
        constant("b1", weights(4)),
        constant("w2", weights(4, 1, 3, 3)),
        constant("two", np.float32(2)),
        constant("pads", np.array([0, 0, 1, 2, 0, 3, 0, 1])),
        constant("start", np.array([1])),
        constant("end", np.array([7])),
        constant("axis", np.array([1])),
        constant("stride", np.array([2])),
        constant("axes", np.array([3])),
        constant("shape", np.array([0, -1])),
    ]
    return save(path, nodes, constants, [2, 9, 9, 3], ["y"])


def test_the_runner_agrees_with_onnx_on_every_operator(tmp_path: Path) -> None:
    path = network(tmp_path / "all.onnx")
    x = weights(2, 9, 9, 3)
    (want,) = ReferenceEvaluator(str(path)).run(None, {"x": x})
    (got,) = OnnxGraph(path)(torch.from_numpy(x))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


def test_gradients_flow_through_the_runner_to_its_input_only(tmp_path: Path) -> None:
    graph = OnnxGraph(network(tmp_path / "all.onnx"))
    x = torch.from_numpy(weights(2, 9, 9, 3)).requires_grad_(True)
    graph(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert list(graph.parameters()) == []


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "odd.onnx", [helper.make_node("Erf", ["x"], ["y"])], [], [1], ["y"])
    with pytest.raises(EngineError, match="Erf"):
        OnnxGraph(path)


def test_missing_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="missing"):
        OnnxGraph(tmp_path / "none.onnx")
    with pytest.raises(EngineError, match="missing"):
        VggDistance(tmp_path / "none.pth")


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right names and shapes up to relu5_1, small random values."""
    generator = torch.Generator().manual_seed(0)
    widths = {
        0: (3, 64),
        2: (64, 64),
        5: (64, 128),
        7: (128, 128),
        10: (128, 256),
        12: (256, 256),
        14: (256, 256),
    }
    widths |= {16: (256, 256), 19: (256, 512), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512)}
    state = {}
    for at, (n_in, n_out) in widths.items():
        scale = (2 / (9 * n_in)) ** 0.5
        state[f"features.{at}.weight"] = torch.randn(n_out, n_in, 3, 3, generator=generator) * scale
        state[f"features.{at}.bias"] = torch.zeros(n_out)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state | {"classifier.0.bias": torch.zeros(1)}, path)
    return path


def test_vgg_features_are_taken_at_torchvisions_five_depths(vgg_file: Path) -> None:
    maps = VggDistance(vgg_file).maps(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    assert all((m >= 0).all() for m in maps), "taken before the activation"


def test_the_vgg_distance_is_the_sum_over_depths_and_sizes(vgg_file: Path) -> None:
    """The distance, transcribed on torchvision's layout: ReLU outputs of layers 1, 6, 11, 20, 29."""
    state = torch.load(vgg_file, weights_only=True)
    convolutions = [n for n in range(30) if f"features.{n}.weight" in state]
    pictures = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def maps(x: torch.Tensor) -> list[torch.Tensor]:
        x, found = ((x + 1) / 2 - mean) / std, []
        for layer in range(30):
            if layer in convolutions:
                weight, bias = (state[f"features.{layer}.{part}"] for part in ("weight", "bias"))
                x = torch.nn.functional.conv2d(x, weight, bias, padding=1)
            elif layer - 1 in convolutions:
                x = x.relu()
            else:
                x = torch.nn.functional.max_pool2d(x, 2)
            if layer in (1, 6, 11, 20, 29):
                found.append(x)
        return found

    want = 0.0
    for size in (64, 32):
        # A picture of half the size is the mean of 2x2 pixels.
        small = [p.view(2, 3, size, 64 // size, size, 64 // size).mean((3, 5)) for p in pictures]
        want += sum((a - b).abs().mean().item() for a, b in zip(*map(maps, small), strict=True))
    assert VggDistance(vgg_file, levels=2)(*pictures).item() == pytest.approx(want, rel=1e-4)


def test_the_vgg_distance_has_gradients_to_the_first_picture(vgg_file: Path) -> None:
    distance = VggDistance(vgg_file, levels=2)
    a, b = torch.rand(2, 1, 3, 32, 32)
    a.requires_grad_(True)
    assert distance(a, a.detach()).item() == 0
    distance(a, b).backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert all(p.grad is None for p in distance.parameters())


def test_small_pictures_have_a_lower_pyramid(vgg_file: Path) -> None:
    distance, a = VggDistance(vgg_file), torch.rand(2, 1, 3, 64, 64)
    three = VggDistance(vgg_file, levels=3)
    assert distance(*a).item() == three(*a).item() > 0


@pytest.mark.parametrize("content", [b"", b"no archive at all", None], ids=["empty", "text", "a list"])
def test_a_file_that_holds_no_weights_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "vgg19.pth"
    if content is None:
        torch.save([1], path)
    else:
        path.write_bytes(content)
    for make in (VggDistance, MobileNetDistance):
        with pytest.raises(EngineError, match="get it again") as raised:
            make(path)
        assert "\n" not in str(raised.value)


def test_other_weights_than_mobilenets_are_refused(vgg_file: Path) -> None:
    with pytest.raises(EngineError, match="not torchvision's mobilenet_v2"):
        MobileNetDistance(vgg_file)


def test_other_weights_than_vggs_are_refused(tmp_path: Path, vgg_file: Path) -> None:
    state = torch.load(vgg_file, weights_only=True)
    del state["features.28.weight"]
    torch.save(state, tmp_path / "vgg16.pth")
    with pytest.raises(EngineError, match=r"features\.28\.weight"):
        VggDistance(tmp_path / "vgg16.pth")


def test_random_features_are_the_same_every_time() -> None:
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(RandomFeatures(3)(x), RandomFeatures(3)(x))
    assert RandomFeatures(3)(x).shape == (2, 128)
    assert RandomFeatures(3)(x, x).item() == 0
    assert RandomFeatures(3)(x, x.flip(0)).item() > 0
