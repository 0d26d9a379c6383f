"""The command itself: files, checks, manifest, plans."""

from __future__ import annotations

import importlib.util
import stat
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from mimicam.engine.backends import export_folder  # noqa: E402
from mimicam.engine.backends.tensorrt import api as tensorrt_api  # noqa: E402
from mimicam.engine.backends.tensorrt import network as tensorrt  # noqa: E402
from mimicam.engine.backends.tensorrt.api import BuildRequest, TensorRt  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64  # noqa: E402
from mimicam.engine.models.daegan.model import NETWORKS  # noqa: E402
from mimicam.engine.models.daegan.presets import build  # noqa: E402
from mimicam.engine.models.daegan.weights import save_daegan  # noqa: E402
from mimicam.export import bundle as bundles  # noqa: E402
from mimicam.export import onnx_files  # noqa: E402
from mimicam.export.bundle import BundleOptions, write_bundle  # noqa: E402
from mimicam.export.commands.export import Export  # noqa: E402
from mimicam.export.half import to_mixed  # noqa: E402
from mimicam.export.networks import Network, load_networks  # noqa: E402

GPUS = ("8.6", "8.9", "12.0")


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    """TensorRT for RTX, which builds plans without a GPU."""
    try:
        return tensorrt_api.find("tensorrt-rtx")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("model", ["random:debug", "random:compact"])
def test_every_runtime_agrees_with_pytorch(tmp_path: Path, model: str, opset: int, precision: str) -> None:
    lines: list[str] = []
    options = BundleOptions(precision=precision, opset=opset)
    manifest = write_bundle(model, tmp_path, options, lines.append)
    assert manifest == export_folder.read_manifest(tmp_path)
    assert manifest.limit == (1e-3 if precision == "fp32" else 1e-2)
    assert sum("openvino" in line for line in lines) == len(manifest.networks)
    if importlib.util.find_spec("onnxruntime"):
        assert sum("onnxruntime" in line for line in lines) == len(manifest.networks)


def test_a_runtime_that_disagrees_stops_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_a_pixel_off(path: Path, inputs: export_folder.Arrays) -> dict[str, np.ndarray]:
        return {name: np.roll(value, 1, -1) for name, value in onnx_files.run_openvino(path, inputs).items()}

    monkeypatch.setattr(onnx_files, "installed_runners", lambda: {"openvino": half_a_pixel_off})
    with pytest.raises(EngineError, match=r"encoder.onnx in openvino differs from PyTorch"):
        write_bundle("random:debug", tmp_path, BundleOptions(), lambda _line: None)
    assert not (tmp_path / export_folder.FILE).exists(), "an export that failed has no manifest"


def test_a_wrong_sampling_convention_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that is easiest to make with these networks: corners aligned."""
    write = onnx_files.write

    def write_aligned(network: Network, path: Path, *, opset: int) -> None:
        write(network, path, opset=opset)
        model = onnx.load(str(path))
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "GridSample" and attribute.name == "align_corners":
                    attribute.i = 1
        onnx.save(model, str(path))

    monkeypatch.setattr(bundles.onnx_files, "write", write_aligned)
    with pytest.raises(EngineError, match=r"expression_generator.onnx in .* differs"):
        write_bundle("random:debug", tmp_path, BundleOptions(), lambda _line: None)


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ("random:debug", "fp32"),
        ("random:compact", "fp16"),
        pytest.param("random:debug", "fp16", marks=pytest.mark.slow),
        pytest.param("random:compact", "fp32", marks=pytest.mark.slow),
    ],
)
def test_the_command_builds_a_plan_of_every_network_without_a_gpu(
    tmp_path: Path, rtx: TensorRt, model: str, precision: str
) -> None:
    del rtx
    command = Export(
        model=model, out=tmp_path, target="tensorrt-rtx", precision=precision, compute_capability=GPUS
    )
    assert command.run() == 0
    for network in export_folder.read_manifest(tmp_path).networks:
        plan = tmp_path / f"{network.name}.plan"
        assert plan.stat().st_size > 100_000
        if sys.platform != "win32":
            assert stat.S_IMODE(plan.stat().st_mode) == 0o600


@pytest.mark.slow
def test_plans_of_daegan_build_without_a_gpu(tmp_path: Path, rtx: TensorRt) -> None:
    """The compact preset is the one that is bundled. Half precision is what a card runs."""
    weights = tmp_path / "model.safetensors"
    save_daegan(build(DAEGAN_COMPACT_64), weights)
    manifest = write_bundle(
        str(weights), tmp_path / "export", BundleOptions(precision="fp16"), lambda _: None
    )
    assert {network.name for network in manifest.networks} == set(NETWORKS)
    for network in manifest.networks:
        request = tensorrt.build_request(tmp_path / "export", manifest, network, GPUS)
        assert len(rtx.build(request).plan) > 100_000, network.name


@pytest.mark.slow
@pytest.mark.timeout(900)  # forty seconds on a core of its own
def test_plans_of_the_published_networks_build_without_a_gpu(tmp_path: Path, rtx: TensorRt) -> None:
    single, half = tmp_path / "single.onnx", tmp_path / "half.onnx"
    built = []
    for network in load_networks("random:published"):
        onnx_files.write(network, single, opset=20)
        onnx.save(to_mixed(onnx.load(str(single))), str(half))
        shapes = {name: tuple(value.shape) for name, value in network.inputs.items()}
        size = len(rtx.build(BuildRequest(onnx=half, shapes=shapes)).plan)
        assert size > 10_000_000, network.name
        built.append(network.name)
        if network.name == "motion_encoder":  # of the others, fp32 is built at the debug size
            assert len(rtx.build(BuildRequest(onnx=single, shapes=shapes)).plan) > size
    assert built == ["encoder", "motion_encoder", "expression_generator", "pose_generator"]


@pytest.mark.parametrize("model", [pytest.param("random:debug", marks=pytest.mark.slow), "random:compact"])
def test_turing_gets_plans_when_every_product_is_half(tmp_path: Path, rtx: TensorRt, model: str) -> None:
    """And only then: should the first build one day pass, fp16-turing can go."""
    manifest = write_bundle(model, tmp_path, BundleOptions(precision="fp16-turing"), lambda _line: None)
    for network in manifest.networks:
        request = tensorrt.build_request(tmp_path, manifest, network, ("7.5",))
        assert len(rtx.build(request).plan) > 100_000
    network = load_networks(model)[0]
    onnx_files.write(network, tmp_path / "single.onnx", opset=20)
    shapes = {name: tuple(value.shape) for name, value in network.inputs.items()}
    single = BuildRequest(onnx=tmp_path / "single.onnx", shapes=shapes, compute_capabilities=("7.5",))
    with pytest.raises(EngineError, match="FP32 GEMM is not supported"):
        rtx.build(single)


def test_a_damaged_onnx_file_does_not_build_and_says_why(tmp_path: Path, rtx: TensorRt) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"does not read a.onnx"):
        rtx.build(BuildRequest(onnx=tmp_path / "a.onnx", shapes={}))


def test_an_unknown_gpu_is_refused(tmp_path: Path, rtx: TensorRt) -> None:
    network = load_networks("random:debug")[1]
    onnx_files.write(network, tmp_path / "a.onnx", opset=20)
    shapes = {name: tuple(value.shape) for name, value in network.inputs.items()}
    request = BuildRequest(onnx=tmp_path / "a.onnx", shapes=shapes, compute_capabilities=("9.0",))
    with pytest.raises(EngineError, match=r"does not build for compute capability 9.0"):
        rtx.build(request)


def test_a_build_tells_how_far_it_is(tmp_path: Path, rtx: TensorRt) -> None:
    network = load_networks("random:debug")[1]
    onnx_files.write(network, tmp_path / "a.onnx", opset=20)
    shapes = {name: tuple(value.shape) for name, value in network.inputs.items()}
    seen: list[tuple[str, int, int]] = []
    rtx.build(BuildRequest(onnx=tmp_path / "a.onnx", shapes=shapes), progress=lambda *step: seen.append(step))
    assert any(done == total > 0 for _, done, total in seen)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opset": 13}, "--opset must be one of"),
        ({"limit": 2.0}, "--limit must lie between"),
        ({"compute_capability": ("8.9",)}, "goes with --target tensorrt-rtx"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        Export(model="random:debug", out=tmp_path, **options)


def test_the_options_are_these() -> None:
    import dataclasses

    assert {field.name for field in dataclasses.fields(Export)} == {
        "model", "out", "target", "precision", "sensitivity", "warp", "opset", "limit", "compute_capability", "gpu",
    }  # fmt: skip


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot make"):
        write_bundle("random:debug", tmp_path / "file" / "out", BundleOptions(), lambda _line: None)
