"""What is ours of the torch-tensorrt target, against as much of the two packages as it touches."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.export import torch_tensorrt_plans as plans  # noqa: E402
from mimicam.export.commands.export import Export  # noqa: E402
from mimicam.export.networks import Network, load_networks  # noqa: E402


class Api:
    """A TensorRT that takes plug-ins."""

    def __init__(self) -> None:
        self.module = ModuleType("fake_tensorrt")
        self.taken: list[str] = []

    def take_plugins(self, compute_capability: str) -> None:
        self.taken.append(compute_capability)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """torch_tensorrt: a registry of converters, and a conversion that notes what it gets."""
    seen: dict[str, Any] = {"converters": {}}

    def converter(target: object, *, supports_dynamic_shapes: bool) -> Any:
        assert supports_dynamic_shapes
        return lambda function: seen["converters"].setdefault(target, function)

    def convert(program: Any, *, inputs: list[Any]) -> bytes:
        seen["program"], seen["inputs"] = program, inputs
        return b"plan"

    utils = SimpleNamespace(get_trt_tensor=lambda _ctx, value, name: (value, name))
    conversion = SimpleNamespace(dynamo_tensorrt_converter=converter, converter_utils=utils)
    made = lambda *tensors: ("plugin", tensors)  # noqa: E731
    plugin = ModuleType("fake_tensorrt.plugin")
    plugin.register = plugin.aot_impl = object()
    plugin.op = SimpleNamespace(mimicam=SimpleNamespace(warp_blend=made))
    monkeypatch.setitem(sys.modules, "fake_tensorrt", ModuleType("fake_tensorrt"))
    monkeypatch.setitem(sys.modules, "fake_tensorrt.plugin", plugin)
    monkeypatch.setattr(plans, "_converters", set())
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    dynamo = SimpleNamespace(conversion=conversion, convert_exported_program_to_serialized_trt_engine=convert)
    return SimpleNamespace(dynamo=dynamo, seen=seen)


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {network.name: network for network in load_networks("random:debug")}


def test_without_the_package_the_remedy_names_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    version = ".".join(torch.__version__.split(".")[:2])
    with pytest.raises(EngineError, match=rf"pip install 'torch-tensorrt=={version}\.\*'"):
        Export(model="random:debug", out=tmp_path, target="torch-tensorrt").run()
    assert not list(tmp_path.iterdir()), "nothing is written before it is known to work"


def test_the_plugin_layer_hands_on_both_outputs(package: SimpleNamespace) -> None:
    plans.register(package, Api(), "9.0")
    (convert,) = package.seen["converters"].values()
    layer = SimpleNamespace(get_output=lambda index: f"output {index}", name="")
    added: list[Any] = []
    net = SimpleNamespace(add_plugin=lambda plugin, *, aot: added.append((plugin, aot)) or layer)
    got = convert(SimpleNamespace(net=net), None, ("f", "a", "w"), {}, "warp_3")
    assert got == ("output 0", "output 1")
    ((plugin, ahead),) = added
    assert ahead, "the plan shall carry the kernel, not call back into Python"
    assert [value for value, _ in plugin[1]] == ["f", "a", "w"]
    assert layer.name == "warp_3"


def test_a_converter_is_registered_once(package: SimpleNamespace) -> None:
    for _ in range(2):
        plans.register(package, Api(), "9.0")
    assert list(package.seen["converters"]) == [torch.ops.mimicam.warp_blend.default]


@pytest.mark.parametrize("half", [False, True])
def test_the_conversion_gets_our_operator_and_its_types(
    half: bool, package: SimpleNamespace, networks: dict[str, Network]
) -> None:
    api = Api()
    generator = networks["expression_generator"]
    assert plans.build(generator, package, api, "9.0", half=half) == b"plan"
    assert api.taken == ["9.0"]
    calls = [str(node.target) for node in package.seen["program"].graph.nodes]
    assert calls.count("mimicam.warp_blend.default") == 4
    assert not any("grid_sampler" in call or "upsample_blur" in call for call in calls)
    latent, *maps = package.seen["inputs"]
    assert latent.dtype is torch.float32
    assert {value.dtype for value in maps} == {torch.float16 if half else torch.float32}


def test_an_encoder_in_half_keeps_its_codes_in_single(
    package: SimpleNamespace, networks: dict[str, Network]
) -> None:
    plans.build(networks["motion_encoder"], package, Api(), "9.0", half=True)
    (image,) = package.seen["inputs"]
    assert image.dtype is torch.float16
    codes = package.seen["program"].module()(image)
    assert {code.dtype for code in codes} == {torch.float32}


def test_a_failed_conversion_is_one_line_with_a_way_out(
    package: SimpleNamespace, networks: dict[str, Network]
) -> None:
    def fail(*_values: object, **_options: object) -> bytes:
        raise RuntimeError("no converter for aten.what\nand more")

    package.dynamo.convert_exported_program_to_serialized_trt_engine = fail
    with pytest.raises(
        EngineError, match=r"motion_encoder \(no converter for aten.what\): use --target"
    ) as e:
        plans.build(networks["motion_encoder"], package, Api(), "9.0", half=False)
    assert "\n" not in str(e.value)


def test_compact_in_half_is_refused() -> None:
    with pytest.raises(EngineError, match="fp32 only"):
        plans.typed(load_networks("random:compact")[0], half=True)
