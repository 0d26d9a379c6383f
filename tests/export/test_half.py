from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mimicam.export import onnx_files
from mimicam.export.half import store_half, to_mixed
from mimicam.export.networks import load_networks
from mimicam.export.onnx_files import run_openvino


@pytest.fixture(scope="module", params=["debug", "compact"])
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[onnx.ModelProto, ...]:
    """A generator in float32 and in mixed precision."""
    network = load_networks(f"random:{request.param}")[-1]
    path = tmp_path_factory.mktemp("half") / "net.onnx"
    onnx_files.write(network, path, opset=20)
    single = onnx.load(str(path))
    return single, to_mixed(single)


def test_sampling_grids_stay_in_single_precision(
    models: tuple[onnx.ModelProto, ...],
) -> None:
    types = _types(models[1])
    samples = [node for node in models[1].graph.node if node.op_type == "GridSample"]
    assert samples
    for node in samples:
        assert types[node.input[1]] == TensorProto.FLOAT
        assert types[node.input[0]] == TensorProto.FLOAT, "TensorRT wants one type for map and grid"


def test_convolutions_of_feature_maps_are_half(models: tuple[onnx.ModelProto, ...]) -> None:
    types = _types(models[1])
    convolutions = [node for node in models[1].graph.node if node.op_type == "Conv"]
    halves = [node for node in convolutions if types[node.output[0]] == TensorProto.FLOAT16]
    assert len(halves) >= 0.5 * len(convolutions)
    singles = {node.name for node in convolutions} - {node.name for node in halves}
    assert singles, "the convolutions that read the flow stay in single precision"


def test_pictures_and_maps_are_half_and_vectors_single(models: tuple[onnx.ModelProto, ...]) -> None:
    for value in (*models[1].graph.input, *models[1].graph.output):
        rank = len(value.type.tensor_type.shape.dim)
        want = TensorProto.FLOAT16 if rank == 4 else TensorProto.FLOAT
        if value.name != "flow":  # it places pixels
            assert value.type.tensor_type.elem_type == want, value.name


def test_weights_are_stored_once_and_smaller(models: tuple[onnx.ModelProto, ...]) -> None:
    single, mixed = (model.ByteSize() for model in models)
    assert mixed < 0.85 * single


def test_a_named_node_is_kept_in_single_precision(tmp_path: Path) -> None:
    network = load_networks("random:debug")[0]
    onnx_files.write(network, tmp_path / "net.onnx", opset=17)
    model = onnx.load(str(tmp_path / "net.onnx"))
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    for keep, want in (((), TensorProto.FLOAT16), ((first,), TensorProto.FLOAT)):
        mixed = to_mixed(model, keep=keep)
        node = next(node for node in mixed.graph.node if node.name == first)
        assert _types(mixed)[node.output[0]] == want


def test_the_original_is_left_as_it_was(models: tuple[onnx.ModelProto, ...]) -> None:
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in models[0].graph.initializer}


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_constants_that_are_halves_are_stored_as_such_and_nothing_changes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    exact = rng.standard_normal(64).astype(np.float16).astype(np.float32)
    constants = {"exact": exact, "inexact": exact + np.float32(1e-5), "few": exact[:1], "large": exact * 1e5}
    names = ["x", *(f"x{number}" for number in range(1, len(constants))), "y"]
    nodes = [
        helper.make_node("Add", [a, name], [b])
        for a, name, b in zip(names, constants, names[1:], strict=False)
    ]
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "sums", port[:1], port[1:], initializers)
    path = tmp_path / "sums.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    inputs = {"x": rng.standard_normal(64).astype(np.float32)}
    before, size = run_openvino(path, inputs)["y"], path.stat().st_size
    store_half(path)
    onnx.checker.check_model(str(path), full_check=True)
    kinds = {each.name: each.data_type for each in onnx.load(str(path)).graph.initializer}
    assert kinds == {
        "exact_half": TensorProto.FLOAT16,
        **dict.fromkeys(("inexact", "few", "large"), TensorProto.FLOAT),
    }
    assert path.stat().st_size < size
    assert np.array_equal(run_openvino(path, inputs)["y"], before)
