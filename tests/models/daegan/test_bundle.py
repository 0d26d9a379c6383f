"""A bundle of DAE-GAN: made of a run's weights, run by its folder or by name, refused in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="bundles are made with onnx")

from mimicam.engine import doctor
from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models import load as registry
from mimicam.engine.models.base import SeveralFramesModel
from mimicam.engine.models.daegan import family as daegan_family
from mimicam.engine.models.daegan.bundle import DAEGAN_DIR, open_bundle_openvino
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.gpu import open_half
from mimicam.engine.models.daegan.model import DaeGanModel
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.torch_model import open_daegan_torch
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan
from mimicam.engine.models.load import bundled_names, identify, load_model, model_hash
from mimicam.engine.types import Image
from mimicam.export.daegan_bundle import bundle_files
from mimicam.export.networks import load_networks
from mimicam.training.commands.train.daegan import start_from
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.recipe import DaeGanRecipe

MOST_MB = 15


def _bundled(weights: Path, out: Path) -> Path:
    assert main(["models", "bundle", "--weights", str(weights), "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _bundled(weights, tmp_path_factory.mktemp("bundle") / "out")


@pytest.fixture
def by_name(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the family, whose weights ship in this test."""
    monkeypatch.setitem(registry._BY_NAME, "daegan", replace(daegan_family.FAMILY, bundled=bundle))
    return "daegan"


@pytest.fixture
def not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = replace(daegan_family.FAMILY, bundled=tmp_path / "none")
    monkeypatch.setitem(registry._BY_NAME, "daegan", nowhere)


@pytest.fixture
def face(aligned: tuple[Image, ...], tmp_path: Path) -> str:
    assert cv2.imwrite(str(tmp_path / "face.png"), aligned[0][:, :, ::-1])
    return str(tmp_path / "face.png")


def _last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def _checkpoint(path: Path, **modules: DaeGan) -> Path:
    states = {name: module.state_dict() for name, module in modules.items()}
    torch.save({"recipe": "daegan", "modules": states}, path)
    return path


def test_a_bundle_has_networks_weights_and_facts(bundle: Path, tmp_path: Path, weights: Path) -> None:
    assert sorted(bundle.iterdir()) == sorted(bundle_files(bundle))
    facts = json.loads((bundle / "model.json").read_text())
    assert (facts["family"], facts["name"], facts["size"]) == ("daegan", "daegan", DAEGAN_DEBUG.size)
    assert facts["config"] == asdict(DAEGAN_DEBUG)
    (tmp_path / "facts.json").write_text('{"steps": 7}')
    arguments = ["--weights", str(weights), "--out", str(tmp_path / "b")]
    assert main(["models", "bundle", *arguments, "--facts", str(tmp_path / "facts.json")]) == 0
    assert json.loads((tmp_path / "b" / "model.json").read_text()) == facts | {"steps": 7}


def test_the_same_weights_give_the_same_files(bundle: Path, daegan: DaeGan, tmp_path: Path) -> None:
    only = _checkpoint(tmp_path / "only.pt", model=daegan)
    averaged = _checkpoint(tmp_path / "averaged.pt", model=DaeGan(DAEGAN_DEBUG), average=daegan)
    for source in (only, averaged, bundle / "weights.safetensors"):
        again = _bundled(source, tmp_path / source.stem)
        for file in bundle.iterdir():
            assert (again / file.name).read_bytes() == file.read_bytes(), f"{file.name} of {source.name}"


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_halved_weights_draw_what_the_run_draws(
    backend: str, bundle: Path, weights: Path, aligned: tuple[Image, ...]
) -> None:
    small, exact = load_model(str(bundle), backend), load_model(str(weights), "torch")
    assert isinstance(small, DaeGanModel)
    assert isinstance(exact, DaeGanModel)
    assert small.name == "daegan"
    assert small.sha256 == model_hash(str(bundle)) == model_hash(str(bundle / "weights.safetensors"))
    pictures = []
    for model in (small, exact):
        features, code = model.encode_frames(aligned[:2]), model.read_motion(aligned[2]).expression
        pictures.append(model.generate(features, expression=code, pose=None).astype(int).copy())
    # Measured 2 here. Compact presets: 1, of 64 trained and of 256 untrained pixels, on 8
    # frames of the bundled clip and four portraits (AMD EPYC, 2026-11).
    assert np.abs(pictures[0] - pictures[1]).max() <= 3
    assert np.std(pictures[1]) > 10, "a flat picture would agree with anything"


def test_openvino_runs_it_where_pytorch_is_missing(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from mimicam.engine.models.load import load_model\n"
        f"print(load_model({str(bundle)!r}, 'auto', threads=1).backend)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "openvino f32, 1 thread", done.stderr


def test_half_precision_on_a_gpu_takes_a_bundle(bundle: Path, aligned: tuple[Image, ...]) -> None:
    host = pytest.importorskip("mimicam.benchmarks.host_gpu").HostGpu()
    half, reference = open_half(bundle, gpu=host), open_daegan_torch(bundle)
    assert (half.name, half.sha256) == (reference.name, reference.sha256)
    code = reference.read_motion(aligned[1]).expression
    np.testing.assert_allclose(
        half.read_motion(aligned[1]).expression, code, atol=0.02 * float(np.abs(code).max())
    )


def test_a_bundles_weights_are_trained_further(bundle: Path) -> None:
    recipe = DaeGanRecipe(DaeGanOptions(), config=DAEGAN_DEBUG)
    start_from(recipe, bundle / "weights.safetensors")
    want = load_daegan(bundle / "weights.safetensors").state_dict()
    assert all(torch.equal(value, want[name]) for name, value in recipe.model.state_dict().items())


def test_the_name_is_the_bundled_model(
    by_name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(by_name).mkdir()
    assert identify(by_name).path == bundle, "also beside a folder of that name"
    assert model_hash(by_name) == model_hash(str(bundle))
    model = load_model(by_name)
    assert isinstance(model, SeveralFramesModel)
    assert model.backend.startswith("openvino")
    out = tmp_path / "out.png"
    assert main(["render", face, face, "-o", str(out), "--aligned", "--model", by_name]) == 0
    assert out.is_file()


def test_the_name_enrols_and_runs(by_name: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "anna", tmp_path / "out.mp4"
    anna = ASSETS / "portraits" / "anna.jpg"
    assert main(["enroll", str(anna), "-o", str(folder), "--model", by_name]) == 0
    live = ["run", "--source", "pattern", "--seconds", "0.3", "--sink", f"file:{out}"]
    assert main([*live, "--portrait", str(folder), "--model", by_name]) == 0
    assert out.stat().st_size > 0


def test_the_name_is_exported(by_name: str, tmp_path: Path) -> None:
    assert main(["export", "--model", by_name, "-o", str(tmp_path / "export")]) == 0
    exported = load_model(str(tmp_path / "export"), "openvino")
    assert (exported.name, exported.sha256) == (by_name, model_hash(by_name))
    with pytest.raises(EngineError, match=r"is no bundle: give a folder of 'mimicam models bundle'"):
        load_networks(str(tmp_path / "export"))


@pytest.mark.parametrize("mode", ["exp", "pose"])
def test_modes_that_one_code_lacks_are_refused_by_name(
    mode: str, by_name: str, face: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    command = ["render", face, face, "-o", str(out), "--aligned", "--model", by_name, "--mode", mode]
    assert main(command) == 1
    assert _last_line(capsys) == f"error: daegan cannot be driven in mode {mode}: use both"
    assert not out.exists()


@pytest.mark.parametrize("model", ["daegan", "the folder"])
def test_tensorrt_wants_an_export_of_it(
    model: str, by_name: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_require_gpu", lambda: None)
    name = by_name if model == "daegan" else str(bundle)
    with pytest.raises(EngineError) as raised:
        load_model(name, "tensorrt")
    assert str(raised.value) == (
        f"TensorRT runs exported models: run 'mimicam export --model {name} -o DIR --target tensorrt',"
        " then give --model DIR"
    )


@pytest.mark.usefixtures("not_shipped")
def test_without_bundled_weights_the_name_is_refused_in_one_line(
    tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", face, face, "-o", str(tmp_path / "out.png"), "--model", "daegan"]) == 1
    assert _last_line(capsys) == (
        "error: this version of mimicam has no weights of 'daegan': give --model the path of your own,"
        " such as DIR/model.safetensors of 'mimicam train daegan --out DIR'"
    )
    assert bundled_names() == ("compact",)
    assert main(["models", "list"]) == 0
    assert "mimicam train daegan --out DIR" in capsys.readouterr().out
    assert [check.name for check in doctor._backend()] == ["backend"]


def test_list_and_doctor_name_it_once_it_is_bundled(by_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundled_names() == ("compact", by_name)
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "--model daegan" in listed
    assert "mimicam train daegan" not in listed
    found = {check.name: check for check in doctor._backend()}
    assert found["backend for daegan"].ok
    assert not found["backend for daegan"].required
    assert found["backend for daegan"].detail.startswith("auto chooses openvino f32")


def test_what_is_bundled_here_is_a_whole_bundle() -> None:
    if not DAEGAN_DIR.exists():
        pytest.skip("this version bundles no weights of DAE-GAN")
    names = {path.name for path in DAEGAN_DIR.iterdir()}
    assert names - {"MODEL_CARD.md"} == {path.name for path in bundle_files(DAEGAN_DIR)}
    assert sum(path.stat().st_size for path in DAEGAN_DIR.iterdir()) <= MOST_MB * 1_000_000
    facts = json.loads((DAEGAN_DIR / "model.json").read_text())
    assert facts["sha256"] == sha256_of(DAEGAN_DIR / "weights.safetensors")
    for backend in ("openvino", "torch"):
        assert load_model("daegan", backend).sha256 == facts["sha256"]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "front.onnx").unlink()
    with pytest.raises(EngineError, match=r"lacks front\.onnx: reinstall mimicam"):
        open_bundle_openvino(copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(EngineError, match=r"weights\.safetensors does not exist"):
        open_daegan_torch(copy)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"name": "x", "sha256": "y", "size": 64, "config": {"code": 1}}']
)
@pytest.mark.parametrize("open_it", [open_bundle_openvino, open_daegan_torch])
def test_damaged_facts_are_one_line(content: str, open_it: Callable[[Path], DaeGanModel], copy: Path) -> None:
    (copy / "model.json").write_text(content)
    with pytest.raises(EngineError, match=r"model\.json is damaged: reinstall mimicam, or make the bundle"):
        open_it(copy)


@pytest.mark.parametrize(
    ("content", "words"),
    [("[]", "is damaged"), ('{"family": "stargan", "sha256": "0"}', "another version of mimicam")],
)
def test_a_family_that_is_unknown_is_refused(content: str, words: str, copy: Path) -> None:
    (copy / "model.json").write_text(content)
    with pytest.raises(EngineError, match=words):
        identify(str(copy))


def test_another_versions_network_is_refused(copy: Path) -> None:
    shutil.copy(copy / "pose_encoder.onnx", copy / "face_embedder.onnx")
    with pytest.raises(EngineError, match="made by another version of mimicam: make the bundle again"):
        open_bundle_openvino(copy)
    (copy / "front.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"front\.onnx does not load in OpenVINO"):
        open_bundle_openvino(copy)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nothing", "does not hold weights"),
        ({"recipe": "dpe"}, "is of recipe 'dpe': only compact and daegan"),
        ({"recipe": "daegan", "modules": {"model": {}}}, "no checkpoint of a DAE-GAN"),
        ({"recipe": "daegan"}, "no checkpoint of a DAE-GAN"),
    ],
)
def test_a_bundle_is_not_made_of_something_else(
    content: object, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    assert main(["models", "bundle", "--weights", str(path), "-o", str(tmp_path / "out")]) == 1
    assert words in _last_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # 12 s
def test_a_bundle_of_256_pixels_is_small_enough_to_ship(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CompactDaeGan(DAEGAN_COMPACT).eval()
    for embedder in (model.face_embedder, model.pose_embedder):
        embedder.encoder.trunk.load_state_dict(read_trunk())
    save_daegan(model, tmp_path / "m.safetensors")
    out = _bundled(tmp_path / "m.safetensors", tmp_path / "out")
    # 13.0 MB (2026-11), 4.5 of it weights for PyTorch.
    assert sum(path.stat().st_size for path in out.iterdir()) <= MOST_MB * 1_000_000
