"""The compact preset in OpenVINO and in eager PyTorch: the same pictures from the same bundle."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="bundles are made with torch")

from safetensors.torch import save_file  # noqa: E402

from mimicam.engine.backends import openvino as openvino_runtime  # noqa: E402
from mimicam.engine.backends.openvino import OpenVinoNetwork, has_bf16  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.base import Features  # noqa: E402
from mimicam.engine.models.compact.conditioning import build_conditioning  # noqa: E402
from mimicam.engine.models.compact.model import CompactModel, open_bundle_openvino, open_bundle_torch  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.compact.spec import CompactConfig, encoder_spec, pixel_generator_spec  # noqa: E402
from mimicam.engine.models.load import load_model  # noqa: E402
from mimicam.engine.types import Float, Image  # noqa: E402
from mimicam.export import compact_bundle  # noqa: E402
from tests.stages.material import motion, pose  # noqa: E402

SMALL = CompactConfig(size=64, latent=16, widths=(8, 8, 16, 16), embed=4)


def small_random() -> Compact:
    """Every layer does something: what starts at zero is drawn, and flows stay within a tenth of the picture."""
    torch.manual_seed(3)
    model = Compact(SMALL)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if not value.any():
                value.normal_(0.0, 0.02 if "to_flow" in name else 0.1)
    state = {k: v.half().float() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Compact:
    return small_random()


@pytest.fixture(scope="module")
def bundle(model: Compact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    save_file(model.state_dict(), folder / "trained.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_bundle, "CompactConfig", lambda: SMALL)
        compact_bundle.write_bundle(folder / "trained.safetensors", folder / "out", {"steps": 7})
    return folder / "out"


@pytest.fixture(params=["openvino", "torch"])
def backend(request: pytest.FixtureRequest, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> CompactModel:
    monkeypatch.setattr(openvino_runtime, "has_bf16", lambda: False)
    return (
        open_bundle_openvino(bundle, threads=1) if request.param == "openvino" else open_bundle_torch(bundle)
    )


@pytest.fixture
def crop() -> Image:
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def _drive() -> dict[str, Float]:
    target = motion(pose(yaw=15, roll=5, at=(0.08, -0.1)), jawOpen=0.6)
    return build_conditioning(motion(), target, map_px=SMALL.size // 2).tensors()


def _want(model: Compact, crop: Image, drive: dict[str, Float]) -> dict[str, np.ndarray]:
    """Painted in grey levels, channels last, as everything."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a))[None] for name, a in drive.items()}
    image = torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        out = model(image, **tensors)
    out["inpaint"] = (out["inpaint"].clamp(-1, 1) + 1) * 127.5
    return {name: out[name][0].permute(1, 2, 0).numpy() for name in ("inpaint", "visibility", "flow")}


def test_features_are_the_encoders_own(backend: CompactModel, model: Compact, crop: Image) -> None:
    features = backend.encode(crop)
    with torch.no_grad():
        latent, maps = model.encoder(torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1)
    want = encoder_spec(SMALL).named_outputs([latent, *maps])
    assert features.model == backend.sha256
    assert features.arrays.keys() == want.keys()
    for name, exact in want.items():
        got = features.arrays[name]
        assert got.shape == tuple(exact.shape)
        assert np.abs(got - exact.numpy()).max() <= 1e-3 * np.ptp(exact.numpy())


def test_layers_are_the_networks_own_to_half_a_grey_level(
    backend: CompactModel, model: Compact, crop: Image
) -> None:
    layers = backend.generate(backend.encode(crop), _drive())
    want = _want(model, crop, _drive())
    assert (layers.inpaint.dtype, layers.inpaint.shape) == (np.uint8, (64, 64, 3))
    assert np.abs(layers.inpaint - want["inpaint"]).max() <= 0.5 + 1e-3 * 255
    assert np.abs(layers.visibility - want["visibility"][..., 0]).max() <= 2e-3
    assert np.abs(layers.flow - want["flow"]).max() <= 1e-3
    assert np.abs(layers.flow).max() > 0.05, "a model that does nothing would pass"
    assert np.ptp(layers.visibility) > 0.02


def test_nothing_of_one_portrait_is_left_in_the_next(backend: CompactModel, crop: Image) -> None:
    light, dark = backend.encode(crop), backend.encode(crop // 3)
    first, second = (backend.generate(each, _drive()).inpaint.copy() for each in (light, dark))
    assert (first != second).mean() > 0.2
    assert (backend.generate(light, _drive()).inpaint == first).all()


def test_features_outlive_the_next_encoding(backend: CompactModel, crop: Image) -> None:
    features = backend.encode(crop)
    kept = {name: array.copy() for name, array in features.arrays.items()}
    backend.encode(255 - crop)
    assert all((features.arrays[name] == array).all() for name, array in kept.items())


def test_a_portrait_of_other_weights_is_refused(backend: CompactModel, crop: Image) -> None:
    foreign = Features(arrays=backend.encode(crop).arrays, model="another")
    with pytest.raises(EngineError, match="enrolled with other weights"):
        backend.generate(foreign, _drive())


def test_a_bundles_networks_take_what_their_specs_list(bundle: Path) -> None:
    for spec in (encoder_spec(SMALL), pixel_generator_spec(SMALL)):
        assert tuple(OpenVinoNetwork(bundle / f"{spec.name}.xml", threads=1).inputs) == spec.input_names


def test_an_input_that_is_missing_or_unknown_is_refused(backend: CompactModel, crop: Image) -> None:
    features, drive = backend.encode(crop), _drive()
    with pytest.raises(ValueError, match="head"):
        backend.generate(features, {name: array for name, array in drive.items() if name != "head"})
    with pytest.raises(ValueError, match="gaze"):
        backend.generate(features, drive | {"gaze": np.zeros(2, np.float32)})


def test_the_bundles_facts_name_the_weights_and_what_was_added(bundle: Path) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    assert facts["steps"] == 7
    assert facts["size"] == 64
    assert CompactConfig(**facts["config"]).to_json() == SMALL.to_json() | {"widths": [8, 8, 16, 16]}
    assert len(facts["sha256"]) == 64


def test_the_backend_says_what_runs(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for capable, precision in ((True, "bf16"), (False, "f32")):
        monkeypatch.setattr(openvino_runtime, "has_bf16", lambda capable=capable: capable)
        assert open_bundle_openvino(bundle, threads=1).backend == f"openvino {precision}, 1 thread"
    assert open_bundle_torch(bundle).backend.startswith(f"torch {torch.__version__} fp32, ")


def test_a_bundle_is_loaded_by_its_folder(bundle: Path) -> None:
    assert load_model(str(bundle), "auto", threads=1).backend.startswith("openvino")
    assert load_model(str(bundle), "torch").backend.startswith("torch")


def _layers(path: Path) -> tuple[dict[str, ET.Element], dict[str, list[tuple[str, str]]]]:
    root = ET.parse(path).getroot()
    layers = {layer.attrib["id"]: layer for layer in root.iter("layer")}
    feeds: dict[str, list[tuple[str, str]]] = {}
    for edge in root.iter("edge"):
        feeds.setdefault(edge.attrib["to-layer"], []).append(
            (edge.attrib["to-port"], edge.attrib["from-layer"])
        )
    return layers, feeds


def _is_precise(layer: ET.Element) -> bool:
    return any(a.attrib["name"] == "precise" for a in layer.iterfind("rt_info/attribute"))


def test_grids_and_the_final_picture_are_marked_precise(bundle: Path) -> None:
    layers, feeds = _layers(bundle / "generator.xml")
    samplers = [number for number, layer in layers.items() if layer.attrib["type"] == "GridSample"]
    assert len(samplers) >= 5, "maps and what opens are warped"
    waiting = [source for number in samplers for port, source in feeds[number] if port == "1"]
    waiting += [number for number, layer in layers.items() if layer.attrib["type"] == "Result"]
    checked: set[str] = set()
    while waiting:
        number = waiting.pop()
        kind = layers[number].attrib["type"]
        if number in checked or kind in ("Const", "Parameter", "Convolution"):
            continue
        checked.add(number)
        assert _is_precise(layers[number]), f"{kind} {layers[number].attrib['name']}"
        waiting += [source for port, source in feeds.get(number, []) if kind != "GridSample" or port == "1"]
    assert len(checked) > 20
    convolutions = [layer for layer in layers.values() if layer.attrib["type"] == "Convolution"]
    assert convolutions
    assert not any(map(_is_precise, convolutions)), "what costs time may be bf16"


@pytest.mark.skipif(not has_bf16(), reason="this CPU has no bf16")
def test_in_bf16_the_picture_stays_close_because_of_the_marks(
    bundle: Path, crop: Image, tmp_path: Path
) -> None:
    folder = _copy(bundle, tmp_path)
    unmarked = (folder / "generator.xml").read_text().replace('name="precise"', 'name="nothing_0"')
    (folder / "generator.xml").write_text(unmarked)
    features = open_bundle_openvino(bundle, threads=1).encode(crop)
    known = {**features.arrays, **{name: a[None] for name, a in _drive().items()}}
    inputs = pixel_generator_spec(SMALL).in_order(known)
    exact = [part.copy() for part in OpenVinoNetwork(bundle / "generator.xml", threads=1)(*inputs)]
    marked, plain = (_apart(path, inputs, exact) for path in (bundle, folder))
    assert marked["inpaint"].mean() < 0.5
    assert marked["flow"].max() < 0.01, "crop units: a pixel of 256"
    assert plain["flow"].mean() > 1.2 * marked["flow"].mean()


def _apart(folder: Path, inputs: tuple[Float, ...], exact: list[np.ndarray]) -> dict[str, np.ndarray]:
    """How far bf16 lies from fp32, by layer."""
    found = OpenVinoNetwork(folder / "generator.xml", threads=1, precision="bf16")(*inputs)
    names = ("inpaint", "visibility", "flow")
    return {n: np.abs(a - b.astype(np.float32)) for n, a, b in zip(names, found, exact, strict=True)}


def _copy(bundle: Path, to: Path) -> Path:
    return Path(shutil.copytree(bundle, to / "copy"))


@pytest.mark.parametrize("file", ["encoder.xml", "generator.bin", "model.json"])
def test_a_bundle_with_a_file_missing_names_it(file: str, bundle: Path, tmp_path: Path) -> None:
    folder = _copy(bundle, tmp_path)
    (folder / file).unlink()
    with pytest.raises(EngineError, match=f"lacks {file}"):
        open_bundle_openvino(folder, threads=1)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": "x", "sha256": "y", "size": "big", "config": {}}']
)
@pytest.mark.parametrize("load", [open_bundle_openvino, open_bundle_torch])
def test_damaged_facts_give_one_line(
    content: str, load: Callable[[Path], CompactModel], bundle: Path, tmp_path: Path
) -> None:
    folder = _copy(bundle, tmp_path)
    (folder / "model.json").write_text(content)
    with pytest.raises(EngineError, match=r"model\.json is damaged: reinstall"):
        load(folder)


def test_a_bundle_with_other_tensor_names_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = _copy(bundle, tmp_path)
    older = (folder / "generator.xml").read_text().replace("opening_masks", "openings")
    (folder / "generator.xml").write_text(older)
    with pytest.raises(EngineError, match="another version of mimicam: make the bundle again"):
        open_bundle_openvino(folder, threads=1)


def test_a_damaged_network_gives_one_line(bundle: Path, tmp_path: Path) -> None:
    folder = _copy(bundle, tmp_path)
    (folder / "generator.xml").write_text("<net")
    with pytest.raises(EngineError, match="the generator does not load") as caught:
        open_bundle_openvino(folder, threads=1)
    assert "\n" not in str(caught.value)


def test_another_versions_network_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = _copy(bundle, tmp_path)
    for suffix in (".xml", ".bin"):
        shutil.copy(folder / f"encoder{suffix}", folder / f"generator{suffix}")
    with pytest.raises(EngineError, match="made by another version"):
        open_bundle_openvino(folder, threads=1)


@pytest.mark.parametrize("damage", ["bytes", "widths"])
def test_weights_that_do_not_fit_are_refused_in_torch(damage: str, bundle: Path, tmp_path: Path) -> None:
    folder = _copy(bundle, tmp_path)
    if damage == "bytes":
        (folder / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nothing.")
    else:
        facts = json.loads((folder / "model.json").read_text())
        facts["config"]["latent"] = 24
        (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(EngineError, match="another version, or is damaged"):
        open_bundle_torch(folder)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\0\0\0\0\0\0\0nothing."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_bundle_is_not_made_of_something_else(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="does not hold weights of the compact preset"):
        compact_bundle.load_weights(path)
    with pytest.raises(EngineError, match="does not exist"):
        compact_bundle.load_weights(tmp_path / f"nowhere{suffix}")


def test_a_bundle_is_not_made_of_another_recipes_run(tmp_path: Path) -> None:
    torch.save({"recipe": "published"}, tmp_path / "checkpoint.pt")
    with pytest.raises(EngineError, match="not a checkpoint of the compact recipe"):
        compact_bundle.load_weights(tmp_path / "checkpoint.pt")
