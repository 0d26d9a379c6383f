"""Values of --model: what each backend requires, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import CudaGpu
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import ImageDrivenModel
from mimicam.engine.models.dpe import export_cache as published_cache
from mimicam.engine.models.dpe.config import DEBUG
from mimicam.engine.models.dpe.export_cache import exported
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.weights import save_dpe
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import enroll, load_portrait, save_portrait
from mimicam.engine.types import EditSettings, Image


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide PyTorch, as on a machine without it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("mimicam.engine.models.")]:
        monkeypatch.delitem(sys.modules, name)


def _refused(name: str, backend: str = "auto") -> str:
    with pytest.raises(EngineError) as raised:
        load_model(name, backend)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.usefixtures("no_torch")
def test_weights_without_torch_name_the_extra(weights: Path, tmp_path: Path) -> None:
    assert "pip install 'mimicam[torch]'" in _refused(str(weights), "torch")
    with pytest.raises(EngineError, match=r"pip install 'mimicam\[torch\]',\s+or give --model the folder"):
        exported(weights, cache=tmp_path / "empty")


def test_weights_that_were_exported_once_run_without_torch(
    weights: Path, aligned: tuple[Image, ...], request: pytest.FixtureRequest
) -> None:
    want = load_model(str(weights), "openvino").encode(aligned[0])
    request.getfixturevalue("no_torch")
    got = load_model(str(weights), "auto")
    assert got.backend.startswith("openvino")
    found = got.encode(aligned[0]).arrays
    assert found.keys() == want.arrays.keys()
    assert all(np.array_equal(found[name], array) for name, array in want.arrays.items())


def test_an_export_is_made_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported(weights)
    monkeypatch.setattr(published_cache, "load_folded", None)  # not called, since one exists
    assert exported(weights) == folder


def test_an_interrupted_export_leaves_nothing_that_counts(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export_folder, "write_manifest", full)
        with pytest.raises(EngineError, match="No space left on device"):
            exported(weights, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (exported(weights, cache=tmp_path) / export_folder.FILE).is_file()


def test_the_folder_of_mimicam_export_runs_as_the_weights_do(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="mimicam export needs it")
    assert main(["export", "--model", str(weights), "-o", str(tmp_path / "export")]) == 0
    folder, file = load_model(str(tmp_path / "export"), "openvino"), load_model(str(weights), "torch")
    assert isinstance(folder, ImageDrivenModel)
    assert isinstance(file, ImageDrivenModel)
    assert folder.sha256 == file.sha256
    a, b = folder.read_motion(aligned[0]), file.read_motion(aligned[0])
    np.testing.assert_allclose(a.pose, b.pose, atol=1e-3 * np.abs(b.pose).max())
    np.testing.assert_allclose(a.expression, b.expression, atol=1e-3 * np.abs(b.expression).max())


def test_an_exported_file_that_was_changed_is_refused(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported(weights), folder)
    with (folder / "pose_generator.onnx").open("ab") as file:
        file.write(b"more")
    assert "has changed since the export" in _refused(str(folder))


def test_an_export_that_is_not_the_reference_is_refused(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported(weights), folder)
    facts = json.loads((folder / export_folder.FILE).read_text())
    by_name = {network["name"]: network for network in facts["networks"]}
    for field in ("onnx", "sha256"):
        by_name["pose_generator"][field] = by_name["expression_generator"][field]
    (folder / export_folder.FILE).write_text(json.dumps(facts))
    assert "differs from PyTorch" in _refused(str(folder))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "mimicam-daegan"}, "damaged header"),
        ({"format": "somebody else's"}, "no DPE or DAE-GAN model of mimicam"),
        (None, "no DPE or DAE-GAN model of mimicam"),
    ],
)
def test_other_safetensors_are_refused(header: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path, metadata=header)
    assert message in _refused(str(path))


def test_a_path_without_a_model_is_refused_with_a_remedy(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "dpe.pt").write_bytes(b"PK")
    (tmp_path / "bad.safetensors").write_bytes(b"not at all")
    assert "mimicam models import" in _refused(str(tmp_path / "dpe.pt"))
    assert "is damaged" in _refused(str(tmp_path / "bad.safetensors"))
    assert "holds no model" in _refused(str(tmp_path))
    assert "give a path that exists, or a bundled model's name (compact" in _refused(
        str(tmp_path / "nowhere")
    )
    assert "are not bundled: run 'mimicam models import" in _refused("published")
    assert "give --backend torch the weights they come from" in _refused(str(exported(weights)), "torch")


def _missing_gpu() -> str:
    try:
        CudaGpu()
    except EngineError as error:
        return str(error)
    return ""


@pytest.mark.skipif(not _missing_gpu(), reason="nothing is missing: this machine has a GPU")
@pytest.mark.parametrize("model", ["weights", "export", "compact"])
def test_tensorrt_says_what_is_missing_here(model: str, weights: Path) -> None:
    names = {"weights": str(weights), "export": str(exported(weights)), "compact": "compact"}
    assert _refused(names[model], "tensorrt") == _missing_gpu()


def test_a_portrait_of_other_weights_is_refused(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path
) -> None:
    save_dpe(Dpe(DEBUG), tmp_path / "other.safetensors")
    model, other = load_model(str(weights), "torch"), load_model(str(tmp_path / "other.safetensors"), "torch")
    assert isinstance(model, ImageDrivenModel)
    portrait = enroll(aligned[0], model=other, aligned=True)
    with pytest.raises(EngineError, match="enrolled with other weights: run 'mimicam enroll' again"):
        Pipeline(model=model, portrait=portrait, edit=EditSettings())
    with pytest.raises(EngineError, match="enrolled with other weights"):
        model.generate(portrait.features, expression=np.zeros(32, np.float32), pose=None)


def test_a_saved_portrait_comes_back_with_its_features(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path
) -> None:
    model = load_model(str(weights), "torch")
    before = enroll(aligned[0], model=model, aligned=True)
    save_portrait(before, tmp_path / "me")
    after = load_portrait(tmp_path / "me", model=model)
    assert after.motion is before.motion is None
    assert after.features.arrays.keys() == before.features.arrays.keys()
    assert all(np.array_equal(after.features.arrays[n], a) for n, a in before.features.arrays.items())


def test_the_list_says_how_to_get_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = {one.split(maxsplit=1)[0]: one + two for one, two in pairwise(printed) if one and one[0] != " "}
    assert "bundled" in lines["compact"]
    assert "mimicam models import" in lines["published"]
    assert "toy" in lines["debug"]
