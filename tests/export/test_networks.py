from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.compact.spec import CONDITIONING, CompactConfig, encoder_spec, generator_spec  # noqa: E402
from mimicam.engine.models.dpe.config import DEBUG  # noqa: E402
from mimicam.engine.models.dpe.network import Dpe  # noqa: E402
from mimicam.engine.models.dpe.spec import dpe_specs  # noqa: E402
from mimicam.engine.models.dpe.weights import save_dpe  # noqa: E402
from mimicam.engine.types import Mode  # noqa: E402
from mimicam.export import networks  # noqa: E402
from mimicam.export.bundle import BundleOptions, write_bundle  # noqa: E402
from mimicam.export.networks import load_networks  # noqa: E402


def test_the_exported_networks_chain_to_the_models_own_edit(tmp_path: Path) -> None:
    """Source latent and maps, driver's code, generator: equation 5 from the exported parts."""
    model = Dpe(DEBUG).eval()
    path = tmp_path / "m.safetensors"
    save_dpe(model, path)
    parts = {network.name: network for network in load_networks(str(path))}
    source, driver = networks.smooth_pictures(DEBUG.size)
    with torch.no_grad():
        want = model.edit(source, driver, Mode.EXP)
        latent, _, _, *maps = parts["encoder"].module(source)
        code, _ = parts["motion_encoder"].module(driver)
        got = parts["expression_generator"].module(latent + code, *maps)
    assert (got - want).abs().max() <= 1e-4 * want.abs().max()


def test_a_training_checkpoint_gives_the_compact_networks(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = Compact().eval()
    state = {"recipe": "compact", "modules": {"average": model.state_dict(), "model": {}}}
    torch.save(state, tmp_path / "checkpoint.pt")
    encoder, generator = load_networks(str(tmp_path / "checkpoint.pt"))
    inputs = generator.inputs
    with torch.no_grad():
        want = model(encoder.inputs["image"], **{name: inputs[name] for name in CONDITIONING})
    assert tuple(generator.reference()) == ("inpaint", "visibility", "flow")
    for name, got in generator.reference().items():
        assert torch.allclose(got, want[name], atol=1e-5), name


def test_the_bundled_model_is_exported_by_its_name_and_hash(tmp_path: Path) -> None:
    import json

    folder = networks.model_path("compact")
    if not (folder / "weights.safetensors").is_file():
        pytest.skip("this checkout has no bundled weights")
    manifest = write_bundle("compact", tmp_path, BundleOptions(precision="fp16"), lambda _line: None)
    assert manifest.model == "compact"
    assert manifest.model_sha256 == json.loads((folder / "model.json").read_text())["sha256"]


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no bundle"):
        load_networks(str(tmp_path))


@pytest.mark.parametrize("model", ["random:compact", "random:debug"])
def test_networks_have_the_shapes_of_their_specs(model: str) -> None:
    specs = (
        dpe_specs(DEBUG)
        if model.endswith("debug")
        else {spec.name: spec for spec in (encoder_spec(CompactConfig()), generator_spec(CompactConfig()))}
    )
    for network in load_networks(model):
        spec, outputs = specs[network.name], network.reference()
        assert {name: tuple(value.shape) for name, value in network.inputs.items()} == {
            t.name: t.shape for t in spec.inputs
        }
        assert {name: tuple(value.shape) for name, value in outputs.items()} == {
            t.name: t.shape for t in spec.outputs
        }


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("random:huge", "no preset 'huge'"),
        ("model.onnx", "is no model"),
        ("missing.pt", "does not exist"),
        ("missing.safetensors", "does not exist"),
    ],
)
def test_a_model_that_is_none_is_refused(model: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        load_networks(model)


@pytest.mark.parametrize(
    "state",
    [{"recipe": "published", "modules": {}}, {"recipe": "compact", "modules": {"average": {}}}, [1], {}],
    ids=["another recipe", "no weights", "a list", "empty"],
)
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(EngineError, match="compact"):
        load_networks(str(tmp_path / "checkpoint.pt"))


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    import pickle

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("this must never run",))

    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(EngineError, match="no checkpoint"):
        load_networks(str(tmp_path / "checkpoint.pt"))
