"""int8 files compute the same in every runtime, on CPUs with and without VNNI and AMX."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="export is traced in torch")
pytest.importorskip("onnxruntime", reason="int8 is calibrated by ONNX Runtime")

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.tensorrt import network as tensorrt
from mimicam.engine.errors import EngineError
from mimicam.export.bundle import BundleOptions, write_bundle
from mimicam.export.onnx_files import run_onnxruntime, run_openvino
from mimicam.export.quantise import Activations, quantise

_CHANNELS, _SIDE = 16, 24


def _picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (1, 3, _SIDE, _SIDE)).astype(np.float32)


def _joined_branches(path: Path, weights: np.ndarray) -> None:
    """Two branches with signed values, a concatenation, the convolution under test, and one that is the output."""
    rng = np.random.default_rng(1)
    constants = {
        "first_a": rng.normal(0, 0.3, (_CHANNELS, 3, 3, 3)),
        "first_b": rng.normal(0, 0.9, (_CHANNELS, 3, 3, 3)),
        "tested": weights,
        "last": rng.normal(0, 0.2, (3, _CHANNELS, 1, 1)),
    }
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "first_a"], ["a"], name="first_a", **padded),
        helper.make_node("Conv", ["image", "first_b"], ["b"], name="first_b", **padded),
        helper.make_node("LeakyRelu", ["a"], ["ra"], name="ra"),
        helper.make_node("Concat", ["ra", "b"], ["both"], name="join", axis=1),
        helper.make_node("Conv", ["both", "tested"], ["y"], name="tested", **padded),
        helper.make_node("LeakyRelu", ["y"], ["ry"], name="ry"),
        helper.make_node("Conv", ["ry", "last"], ["out"], name="last", kernel_shape=[1, 1]),
    ]
    shape = [1, 3, _SIDE, _SIDE]
    ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("image", "out")]
    graph = helper.make_graph(
        nodes,
        "joined",
        *ports,
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def _loss(path: Path, weights: np.ndarray, activations: Activations) -> dict[str, float]:
    """Mean error against float32 as a share of the largest value, by runtime."""
    _joined_branches(path, weights)
    inputs = {"image": _picture()}
    want = run_onnxruntime(path, inputs)["out"]
    quantise(path, [{"image": _picture(seed)} for seed in range(4)], activations)
    quantised = {node.name for node in onnx.load(str(path)).graph.node if node.op_type == "QuantizeLinear"}
    assert quantised, "nothing was quantised"
    got = {"onnxruntime": run_onnxruntime(path, inputs)["out"], "openvino": run_openvino(path, inputs)["out"]}
    return {name: float(np.abs(value - want).mean() / np.abs(want).max()) for name, value in got.items()}


def test_openvino_computes_a_convolution_after_concat_right(tmp_path: Path) -> None:
    """Signed activations are off by ten times as much there on a CPU without AMX."""
    weights = np.random.default_rng(2).normal(0, 0.1, (_CHANNELS, 2 * _CHANNELS, 3, 3))
    loss = _loss(tmp_path / "a.onnx", weights, "unsigned")
    assert loss["openvino"] < 1.5 * loss["onnxruntime"]
    assert loss["onnxruntime"] < 0.02


def test_large_products_do_not_overflow_without_vnni(tmp_path: Path) -> None:
    """All weights at the end of their range: 255 x 127 twice is more than 16 bits hold, 255 x 64 twice is not."""
    weights = np.full((_CHANNELS, 2 * _CHANNELS, 3, 3), 0.1)
    loss = _loss(tmp_path / "a.onnx", weights, "unsigned")
    assert loss["openvino"] < 1.5 * loss["onnxruntime"]
    assert loss["onnxruntime"] < 0.02


@pytest.mark.parametrize(
    ("target", "activations", "kind"),
    [("onnx", "unsigned", TensorProto.UINT8), ("tensorrt-rtx", "signed", TensorProto.INT8)],
)
def test_int8_takes_the_form_of_its_target(
    target: str, activations: str, kind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        export_folder.LIMITS, "int8", 2.0
    )  # random weights: only the file's form is looked at
    lines: list[str] = []
    options = BundleOptions(precision="int8", target=target, frames=1)
    manifest = write_bundle("random:debug", tmp_path, options, lines.append)
    assert manifest.activations == export_folder.read_manifest(tmp_path).activations == activations
    graph = onnx.load(str(tmp_path / "expression_generator.onnx")).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    points = {constants[n.input[2]].data_type for n in graph.node if n.op_type == "QuantizeLinear"}
    assert points == {kind}
    compared_in_openvino = any("expression_generator.onnx: openvino" in line for line in lines)
    assert compared_in_openvino == (target == "onnx"), "a file is compared in what shall run it"


def test_tensorrt_refuses_the_form_for_cpus_and_names_the_remedy(tmp_path: Path) -> None:
    manifest = SimpleNamespace(activations="unsigned", precision="int8")
    with pytest.raises(EngineError, match=r"are for CPUs: export again with --target tensorrt"):
        tensorrt.build_request(tmp_path, manifest, SimpleNamespace())  # type: ignore[arg-type]


def test_a_file_that_does_not_compile_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"^a.onnx does not compile in OpenVINO on this CPU: use .*$"):
        run_openvino(tmp_path / "a.onnx", {})
