from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from mimicam.engine.backends import export_folder  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.export.bundle import BundleOptions, write_bundle  # noqa: E402
from mimicam.export.commands.export import Export  # noqa: E402
from mimicam.export.networks import Network, load_networks, random_dpe  # noqa: E402
from mimicam.export.sensitivity import THRESHOLD, kept, layers, measure, node_prefix, rounded  # noqa: E402


class Two(nn.Module):
    """One layer whose rounding is lost in the other's size, and one that decides."""

    def __init__(self) -> None:
        super().__init__()
        self.calm, self.fine = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.calm.weight.copy_(torch.eye(4))
            self.fine.weight.copy_(1000.3 * torch.eye(4))

    def forward(self, x: Any) -> Any:
        return self.fine(x) - 1000 * self.calm(x)


def _two() -> Network:
    return Network(
        name="two", module=Two(), inputs={"x": torch.ones(1, 4)}, outputs=("y",), dynamic_batch=False
    )


def test_only_the_layer_whose_rounding_shows_is_kept() -> None:
    found = measure(_two(), [{"x": np.ones((1, 4), np.float32)}], torch.float16)
    assert [each.layer for each in found] == ["fine", "calm"]
    assert found[0].worst == pytest.approx(0.2 / 0.3, rel=0.01), "1000.3 becomes 1000.5 in half precision"
    assert found[1].worst == 0
    assert kept(found, 0.1) == {"fine"}
    assert kept(found, 0.9) == frozenset()


def test_a_layer_is_whole_again_afterwards() -> None:
    layer = nn.Linear(3, 3)
    before, x = layer.weight.detach().clone(), torch.rand(1, 3)
    want = layer(x)
    with rounded(layer, torch.bfloat16):
        assert not torch.equal(layer.weight, before)
        assert not torch.equal(layer(x), want)
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer(x), want)


def test_every_weight_of_both_presets_is_in_some_layer() -> None:
    for model in ("random:debug", "random:compact"):
        for network in load_networks(model):
            names = layers(network.module)
            of = {id(getattr(layer, "weight")) for layer in names.values()}  # noqa: B009
            weights = [
                p for n, p in network.module.state_dict(keep_vars=True).items() if n.endswith(".weight")
            ]
            assert {id(w) for w in weights if w.dim() >= 2} <= of, network.name


@pytest.mark.parametrize(
    ("layer", "prefix"),
    [("start", "/start/"), ("levels.0.up", "/levels.0/up/"), ("a.b.3.first.conv", "/a/b.3/first/conv/")],
)
def test_a_layers_nodes_are_found_by_name(layer: str, prefix: str) -> None:
    assert node_prefix(layer) == prefix


@pytest.mark.slow
def test_the_export_keeps_what_loses_most(tmp_path: Path) -> None:
    lines: list[str] = []
    options = BundleOptions(precision="fp16", sensitivity=1e-9, frames=2)
    write_bundle("random:debug", tmp_path / "all", options, lines.append)
    write_bundle("random:debug", tmp_path / "none", BundleOptions(precision="fp16"), lines.append)
    assert (tmp_path / "all" / "sensitivity.json").is_file()
    assert any("layers measured in fp16, the worst: " in line for line in lines)
    half = {name: _half_weights(tmp_path / name / "expression_generator.onnx") for name in ("all", "none")}
    assert half["all"] < half["none"], "kept layers have float32 weights"


def test_the_command_measures_trained_weights_by_itself(tmp_path: Path) -> None:
    """On the user's own checkpoint, with the bundled clip: what it keeps is in the file beside the networks."""
    import json

    from mimicam.engine.models.dpe.weights import save_dpe

    weights = tmp_path / "dpe.safetensors"
    save_dpe(random_dpe("debug"), weights)
    command = Export(model=str(weights), out=tmp_path / "out", precision="fp16", limit=0.05)
    assert command.run() == 0
    found = json.loads((tmp_path / "out" / "sensitivity.json").read_text())
    assert set(found) == {"encoder", "motion_encoder", "expression_generator", "pose_generator"}
    layer = {"layer", "worst", "mean"}
    assert all(rows and set(rows[0]) == layer for rows in found.values())
    worst = found["expression_generator"]
    assert worst == sorted(worst, key=lambda row: -row["worst"])
    assert 0 < worst[0]["worst"] < 0.1, "half precision loses something, and not everything"


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"model": "dpe.safetensors", "precision": "fp16"}, THRESHOLD),
        ({"model": "dpe.safetensors", "precision": "fp16", "sensitivity": 0.0}, None),
        ({"model": "dpe.safetensors", "precision": "fp16", "sensitivity": 0.02}, 0.02),
        ({"model": "dpe.safetensors"}, None),
        ({"model": "dpe.safetensors", "precision": "int8"}, None),
        ({"model": "random:published", "precision": "fp16"}, None),
        ({"model": "dpe.safetensors", "precision": "fp16", "target": "torch-tensorrt"}, None),
    ],
)
def test_what_is_measured_unless_somebody_says_otherwise(options: dict[str, Any], want: float | None) -> None:
    assert Export(out=Path("out"), **options).threshold == want


def test_int8_leaves_grids_and_last_layers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(
        export_folder.LIMITS, "int8", 2.0
    )  # random weights: only the file's form is looked at
    write_bundle("random:debug", tmp_path, BundleOptions(precision="int8", frames=1), lambda _line: None)
    graph = onnx.load(str(tmp_path / "expression_generator.onnx")).graph
    producers = {output: node for node in graph.node for output in node.output}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    quantised = {n.name for n in convs if producers.get(n.input[0], n).op_type == "DequantizeLinear"}
    assert quantised
    assert not [name for name in quantised if "/flow/" in name or "/picture/" in name]
    whole = onnx.load(str(tmp_path / "encoder.onnx")).graph
    assert not any(node.op_type == "QuantizeLinear" for node in whole.node), "the portrait is encoded in full"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sensitivity": -0.1, "precision": "fp16"}, "--sensitivity must not be negative"),
        ({"sensitivity": 0.1}, "--sensitivity must not be negative"),
        ({"sensitivity": 0.1, "precision": "fp16", "target": "torch-tensorrt"}, "keeps layers of ONNX files"),
        ({"precision": "int8", "target": "torch-tensorrt"}, "int8 is built from ONNX"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=words):
        Export(model="random:debug", out=tmp_path, **options)


def _half_weights(path: Path) -> int:
    graph = onnx.load(str(path)).graph
    return sum(t.data_type == onnx.TensorProto.FLOAT16 and len(t.dims) == 4 for t in graph.initializer)
