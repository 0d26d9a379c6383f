"""The compact preset on a TensorRT and a GPU that are made of Python: the plan is PyTorch itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the TensorRT backend needs torch")
pytest.importorskip("onnx", reason="the model is exported first")

from mimicam.engine.backends import export_folder  # noqa: E402
from mimicam.engine.backends.tensorrt import api as tensorrt_api  # noqa: E402
from mimicam.engine.backends.tensorrt.api import BuildRequest  # noqa: E402
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.base import Features  # noqa: E402
from mimicam.engine.models.compact.plans import TensorRtCompact, start_compact  # noqa: E402
from mimicam.engine.models.compact.spec import CONDITIONING, FEATURES  # noqa: E402
from mimicam.engine.pipeline import Pipeline  # noqa: E402
from mimicam.engine.portrait import enroll  # noqa: E402
from mimicam.engine.stages.composite import Composite  # noqa: E402
from mimicam.engine.stages.warp_composite import WarpComposite  # noqa: E402
from mimicam.engine.types import CropBox, EditSettings, Frame  # noqa: E402
from mimicam.export import onnx_files  # noqa: E402
from mimicam.export.bundle import BundleOptions, write_bundle  # noqa: E402
from mimicam.export.networks import Network, load_networks  # noqa: E402
from tests.backends.tensorrt.test_network import FakeGpu  # noqa: E402
from tests.models.fakes import TrackerDriven  # noqa: E402
from tests.stages.material import bundled, driver_clip  # noqa: E402

PICTURE = np.random.default_rng(5).integers(0, 256, (240, 260, 3), np.uint8)


class _TorchEngine:
    """A network of the export, at the addresses that the backend gives it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._shapes = {name: tuple(value.shape) for name, value in network.inputs.items()}
        self._shapes |= {name: value.shape for name, value in network.reference_arrays().items()}
        self._address: dict[str, int] = {}
        self.num_io_tensors = len(self._shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self._shapes)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self._network.inputs else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get_tensor_dtype(self, _name: str) -> str:
        return "DataType.FLOAT"

    def set_input_shape(self, _name: str, _shape: tuple[int, ...]) -> bool:
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._address[name] = address
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        inputs = {name: self._view(name).copy() for name in self._network.inputs}
        for name, value in self._network.with_inputs(inputs).reference_arrays().items():
            self._view(name)[...] = value
        return True

    def _view(self, name: str) -> np.ndarray:
        count = int(np.prod(self._shapes[name]))
        memory = (ctypes.c_float * count).from_address(self._address[name])
        return np.frombuffer(memory, np.float32).reshape(self._shapes[name])


class _TorchApi:
    """A plan is the network's name."""

    name, flavour = "tensorrt 10.0", "tensorrt"
    module = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="in"))

    def __init__(self, networks: list[Network]) -> None:
        self._networks = {network.name: network for network in networks}

    def build(self, request: BuildRequest, **_options: object) -> tensorrt_api.Built:
        return tensorrt_api.Built(plan=request.onnx.stem.encode(), timing_cache=None)

    def load(self, plan: bytes) -> _TorchEngine:
        return _TorchEngine(self._networks[plan.decode()])

    def context(self, engine: _TorchEngine, _cache: bytes | None) -> tuple[_TorchEngine, Callable[[], bytes]]:
        return engine, bytes


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    return load_networks("random:compact")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:  # tests/export holds the runtimes to PyTorch; not again here
        patch.setattr(onnx_files, "installed_runners", dict)
        write_bundle("random:compact", folder, BundleOptions(), lambda _line: None)
    return folder


@pytest.fixture
def model(exported: Path, networks: list[Network], tmp_path: Path) -> TensorRtCompact:
    return TensorRtCompact(
        exported, gpu=FakeGpu(), api=_TorchApi(networks), cache=PlanCache(tmp_path / "plans")
    )


def test_layers_are_the_networks_own(model: TensorRtCompact, networks: list[Network]) -> None:
    generator = networks[1]
    layers = model.generate(_portrait(model, generator), _drive(generator))
    want = {name: array[0].transpose(1, 2, 0) for name, array in generator.reference_arrays().items()}
    assert layers.inpaint.dtype == np.uint8
    assert np.abs(layers.inpaint - (want["inpaint"].clip(-1, 1) + 1) * 127.5).max() <= 0.5 + 1e-2
    assert np.abs(layers.visibility - want["visibility"][..., 0]).max() <= 1e-5
    assert np.abs(layers.flow - want["flow"]).max() <= 1e-5


def test_encoding_gives_what_generating_wants(model: TensorRtCompact, networks: list[Network]) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (model.size, model.size, 3), dtype=np.uint8)
    features = model.encode(crop)
    assert {name: array.shape for name, array in features.arrays.items()} == {
        name: tuple(networks[1].inputs[name].shape) for name in FEATURES
    }
    assert model.generate(features, _drive(networks[1])).inpaint.shape == crop.shape


def test_another_portrait_takes_the_first_ones_place(model: TensorRtCompact, networks: list[Network]) -> None:
    first = _portrait(model, networks[1])
    darker = Features(arrays={**first.arrays, "map2": first.arrays["map2"] - 0.5}, model=first.model)
    drive = _drive(networks[1])
    seen = [model.generate(portrait, drive).inpaint.astype(int) for portrait in (first, darker, first)]
    assert np.abs(seen[0] - seen[1]).mean() > 0.2
    assert np.array_equal(seen[0], seen[2])


def test_the_step_is_captured_once(model: TensorRtCompact, networks: list[Network]) -> None:
    for _ in range(3):
        model.generate(_portrait(model, networks[1]), _drive(networks[1]))
    assert model._gpu.captures == 1


@pytest.mark.parametrize("size", [None, (320, 256)])
def test_a_finished_picture_is_the_layers_put_together(
    size: tuple[int, int] | None, model: TensorRtCompact, networks: list[Network]
) -> None:
    """In one step is generate, and the host's composite."""
    scene = Composite(PICTURE, CropBox(x_px=30, y_px=20, size_px=200), size).texture(model.size)
    features, drive = _portrait(model, networks[1]), _drive(networks[1])
    want = WarpComposite(scene, model.size)(model.generate(features, drive))
    drawer = model.open_canvas()
    assert drawer is not None
    captures = model._gpu.captures
    for _ in range(2):
        drawer.enter(features, scene)
        # OpenCV samples to a 32nd of a pixel, and these pixels are noise.
        assert (
            np.abs(drawer(drive, np.zeros((4, model.size, model.size), np.float32)).astype(int) - want).mean()
            <= 1.5
        )
    assert model._gpu.captures == captures + 1


def test_the_live_path_draws_and_pastes_in_one_step(model: TensorRtCompact) -> None:
    """The pipeline finds the drawer by itself, and shows what it would show without."""

    class OnHost(TrackerDriven):
        """The same model without the paste."""

        def __init__(self) -> None:
            self.name, self.backend, self.size, self.sha256 = (
                model.name, model.backend, model.size, model.sha256,
            )  # fmt: skip
            self.encode, self.generate = model.encode, model.generate

    portrait = enroll(bundled("rosa.jpg"), model=model)
    shown = []
    for each in (model, OnHost()):
        pipeline = Pipeline(model=each, portrait=portrait, edit=EditSettings(), size=(256, 256))
        frames = driver_clip()[:2]
        shown.append(
            [
                pipeline.step(Frame(image=image, seq=n, captured_ns=n * 40_000_000)).image.copy()
                for n, image in enumerate(frames)
            ]
        )
    for got, want in zip(*shown, strict=True):
        assert np.abs(got.astype(int) - want).mean() <= 0.5


def test_a_portrait_of_other_weights_is_refused(model: TensorRtCompact, networks: list[Network]) -> None:
    foreign = Features(arrays=_portrait(model, networks[1]).arrays, model="another")
    with pytest.raises(EngineError, match="enrolled with other weights"):
        model.generate(foreign, _drive(networks[1]))


def test_an_export_takes_what_the_spec_lists(networks: list[Network]) -> None:
    assert tuple(networks[1].inputs) == (*FEATURES, *CONDITIONING)


def test_an_export_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "installed_runners", dict)
    write_bundle("random:debug", tmp_path, BundleOptions(), lambda _line: None)
    with pytest.raises(EngineError, match="no export of a compact model"):
        TensorRtCompact(tmp_path, gpu=FakeGpu())


def test_an_export_with_other_tensor_names_is_refused(exported: Path, tmp_path: Path) -> None:
    manifest = export_folder.read_manifest(exported)
    encoder, generator = manifest.networks
    older = replace(
        generator, outputs=(replace(generator.outputs[0], name="painted"), *generator.outputs[1:])
    )
    export_folder.write_manifest(tmp_path, replace(manifest, networks=(encoder, older)))
    with pytest.raises(EngineError, match="another version of mimicam: export the model again"):
        start_compact(tmp_path, gpu=FakeGpu())


@pytest.mark.parametrize(
    ("capability", "asked"),
    [("8.9", ["tensorrt-rtx", "tensorrt"]), ("9.0", ["tensorrt"]), ("8.0", ["tensorrt"])],
)
def test_the_tensorrt_that_supports_the_card_is_asked_for(
    capability: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def missing(flavour: str) -> Any:
        seen.append(flavour)
        raise EngineError(f"{flavour} is not available")

    monkeypatch.setattr(tensorrt_api, "find", missing)
    gpu = FakeGpu()
    gpu.compute_capability = capability
    with pytest.raises(EngineError, match="; or ".join(asked)[:12]):
        tensorrt_api.find_tensorrt(gpu)
    assert seen == asked


def _portrait(model: TensorRtCompact, generator: Network) -> Features:
    arrays = {name: generator.inputs[name].numpy() for name in FEATURES}
    return Features(arrays=arrays, model=model.sha256)


def _drive(generator: Network) -> dict[str, np.ndarray]:
    return {name: generator.inputs[name][0].numpy() for name in CONDITIONING}
