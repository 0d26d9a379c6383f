"""ONNX files with our operator in them: the same networks, run here by ONNX's reference evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

from mimicam.engine.backends import export_folder  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.export.bundle import BundleOptions, write_bundle  # noqa: E402
from mimicam.kernels.warp_blend import reference  # noqa: E402


class warp_blend(OpRun):  # noqa: N801 - the operator's name
    op_domain = "mimicam"

    def _run(self, *values: Any, plugin_version: str, plugin_namespace: str) -> tuple[Any, ...]:
        assert (plugin_version, plugin_namespace) == ("1", "mimicam")
        feature, activation, flow = (torch.from_numpy(np.ascontiguousarray(value)) for value in values)
        assert flow.dtype is torch.float32, "the flow places pixels"
        return tuple(value.numpy() for value in reference(feature, activation, flow))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_generator_with_the_plugin_is_the_generator(precision: str, tmp_path: Path) -> None:
    lines: list[str] = []
    manifest = write_bundle(
        "random:debug", tmp_path, BundleOptions(precision=precision, warp="plugin"), lines.append
    )
    assert export_folder.read_manifest(tmp_path).warp == "plugin"
    entry = manifest.network("expression_generator")
    graph = onnx.load(str(tmp_path / entry.onnx)).graph
    assert [node.op_type for node in graph.node].count("warp_blend") == 4
    assert not any(node.op_type == "GridSample" for node in graph.node)
    inputs, want = export_folder.read_check(tmp_path, entry)
    run = ReferenceEvaluator(str(tmp_path / entry.onnx), new_ops=[warp_blend])
    got = dict(zip(run.output_names, run.run(None, inputs), strict=True))
    export_folder.require(export_folder.compare(want, got, manifest.precision), manifest.limit, entry.onnx)
    assert any("only TensorRT runs the plug-in" in line for line in lines)


def test_encoders_stay_as_every_runtime_reads_them(tmp_path: Path) -> None:
    lines: list[str] = []
    write_bundle("random:debug", tmp_path, BundleOptions(warp="plugin"), lines.append)
    assert any(line.startswith("encoder.onnx: openvino agrees") for line in lines)


def test_a_model_without_that_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="leave out --warp"):
        write_bundle("random:compact", tmp_path, BundleOptions(warp="plugin"), print)
