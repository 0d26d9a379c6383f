from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.export_folder import Difference, Manifest, NetworkFile
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.network_spec import TensorSpec


@pytest.fixture
def exported(tmp_path: Path) -> Manifest:
    """A folder with one network of a made-up model."""
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    inputs, reference = {"x": np.ones((1, 3), np.float16)}, {"y": np.arange(6, dtype=np.float32)}
    export_folder.write_check(tmp_path / "net.check.npz", inputs, reference)
    network = NetworkFile(
        name="net",
        onnx="net.onnx",
        sha256=sha256_of(tmp_path / "net.onnx"),
        check="net.check.npz",
        inputs=(TensorSpec(name="x", shape=(1, 3), dtype="float16"),),
        outputs=(TensorSpec(name="y", shape=(6,), dtype="float32"),),
    )
    manifest = Manifest(
        model="m.safetensors", model_sha256="0", precision="fp16", opset=20, limit=0.01, networks=(network,)
    )
    export_folder.write_manifest(tmp_path, manifest)
    return manifest


def test_a_manifest_comes_back_as_written(exported: Manifest, tmp_path: Path) -> None:
    assert export_folder.read_manifest(tmp_path) == exported


def test_check_values_come_back_by_name(exported: Manifest, tmp_path: Path) -> None:
    inputs, reference = export_folder.read_check(tmp_path, exported.network("net"))
    assert inputs["x"].dtype == np.float16
    assert reference["y"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_changed_onnx_file_is_refused(exported: Manifest, tmp_path: Path) -> None:
    network = exported.network("net")
    assert export_folder.onnx_path(tmp_path, network) == tmp_path / "net.onnx"
    (tmp_path / "net.onnx").write_bytes(b"another")
    with pytest.raises(EngineError, match="has changed since the export"):
        export_folder.onnx_path(tmp_path, network)


@pytest.mark.parametrize("name", ["../net.onnx", "/etc/passwd", "sub/net.onnx"])
@pytest.mark.parametrize("field", ["onnx", "check"])
@pytest.mark.usefixtures("exported")
def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path, field: str, name: str) -> None:
    values = json.loads((tmp_path / export_folder.FILE).read_text())
    values["networks"][0][field] = name
    (tmp_path / export_folder.FILE).write_text(json.dumps(values))
    with pytest.raises(EngineError, match="no plain file name"):
        export_folder.read_manifest(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "other", "version": 1}', '{"format": 1', '{"a":' * 50_000, "x" * 2_000_000],
)
def test_a_damaged_manifest_says_to_export_again(tmp_path: Path, text: str) -> None:
    (tmp_path / export_folder.FILE).write_text(text)
    with pytest.raises(EngineError, match="export the model again"):
        export_folder.read_manifest(tmp_path)


@pytest.mark.parametrize("shape", [[0], [-3], [10**9], [2**20, 2**20], ["3"], [1.5], 3, None])
@pytest.mark.usefixtures("exported")
def test_absurd_shapes_in_a_manifest_are_refused(tmp_path: Path, shape: object) -> None:
    values = json.loads((tmp_path / export_folder.FILE).read_text())
    values["networks"][0]["inputs"][0]["shape"] = shape
    (tmp_path / export_folder.FILE).write_text(json.dumps(values))
    with pytest.raises(EngineError, match=r"is damaged .*: export the model again"):
        export_folder.read_manifest(tmp_path)


@pytest.mark.parametrize("arrays", [{"x": np.ones((9000, 3), np.float16)}, {"x": np.ones((1, 3))}, {}])
def test_check_values_of_another_form_are_refused(
    exported: Manifest, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    export_folder.write_check(tmp_path / "net.check.npz", arrays, {"y": np.arange(6)})
    with pytest.raises(EngineError, match="missing or damaged: export the model again"):
        export_folder.read_check(tmp_path, exported.network("net"))


def test_a_missing_export_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="mimicam export"):
        export_folder.read_manifest(tmp_path)


def test_an_unknown_network_is_refused_with_the_known_ones(exported: Manifest) -> None:
    with pytest.raises(EngineError, match="no network 'decoder', only net"):
        exported.network("decoder")


def test_the_difference_is_a_share_of_the_largest_value() -> None:
    (difference,) = export_folder.compare({"y": np.array([0.0, 10.0])}, {"y": np.array([0.1, 10.0])}, "fp32")
    assert difference.worst == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_infinitely_wrong(bad: float) -> None:
    got = export_folder.compare({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, bad])}, "fp32")
    with pytest.raises(EngineError, match="differs from PyTorch by inf at 'y'"):
        export_folder.require(got, 0.5, "it")


@pytest.mark.parametrize("got", [{}, {"y": np.zeros(4)}])
def test_a_missing_output_is_an_error(got: dict[str, np.ndarray]) -> None:
    with pytest.raises(EngineError, match="output 'y' is missing"):
        export_folder.compare({"y": np.zeros(3)}, got, "fp32")


def test_the_worst_output_decides() -> None:
    both = [Difference(output="a", worst=0.001), Difference(output="b", worst=0.1)]
    assert export_folder.require(both, 0.2, "it") == 0.1
    with pytest.raises(EngineError, match="at 'b'"):
        export_folder.require(both, 0.05, "it")


def test_samples_of_a_large_output_see_an_error_in_any_row() -> None:
    """Not in any single value: the sample is a sixteenth of this one."""
    want = np.zeros((1, 4, 512, 512), np.float32)
    want[0, 0, 0, 0] = 1
    reference = export_folder._sampled(want)
    assert reference.size <= 1 << 16
    for row in (0, 100, 511):
        got = want.copy()
        got[:, :, row] += 0.5
        assert export_folder.compare({"y": reference}, {"y": got}, "fp32")[0].worst > 0.4


def test_int8_is_judged_by_its_mean_error() -> None:
    want, got = {"y": np.array([0.0, 1.0, 0.0, 1.0])}, {"y": np.array([0.0, 1.0, 0.8, 1.0])}
    assert export_folder.compare(want, got, "fp16")[0].worst == pytest.approx(0.8)
    assert export_folder.compare(want, got, "int8")[0].worst == pytest.approx(0.2)
