"""The plug-in against TensorRT's documented decorators, and its kernels in TensorRT's order of arguments."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the plug-in needs torch")

from mimicam.engine.backends.tensorrt import plugin as tensorrt_plugin  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.kernels import KernelBuildError, _cupy, _launch  # noqa: E402
from mimicam.kernels.warp_blend import reference  # noqa: E402
from tests.kernels import emulation  # noqa: E402
from tests.kernels.cases import Warp, apart  # noqa: E402

LAST = {
    "register": (),
    "autotune": ("outputs",),
    "aot_impl": ("outputs", "tactic"),
    "impl": ("outputs", "stream"),
}


class Size(int):
    """A size that is known when the plan is built."""

    is_constant = True

    def constant_value(self) -> int:
        return int(self)


class Desc:
    """A tensor's description."""

    def __init__(self, shape: tuple[int, ...], dtype: str, layout: str = "LINEAR") -> None:
        self.shape_expr = [Size(n) for n in shape]
        self.dtype, self.format = dtype, layout

    def like(self) -> Desc:
        return Desc(tuple(self.shape_expr), self.dtype)


class Plugin(ModuleType):
    """The decorators as TensorRT's reference describes them; they check what they are given."""

    TensorDesc = Tensor = Desc
    SymInt32 = int
    KernelLaunchParams = type("KernelLaunchParams", (SimpleNamespace,), {})
    AutoTuneCombination = type("AutoTuneCombination", (tuple,), {"__new__": lambda _cls, *values: values})
    SymIntExprs = type("SymIntExprs", (list,), {"__init__": lambda me, n: list.__init__(me, [None] * n)})

    def __init__(self, *, ahead: bool = True) -> None:
        super().__init__("fake_tensorrt.plugin")
        self.functions: dict[str, Callable[..., Any]] = {}
        for name in ("register", "autotune", "aot_impl" if ahead else "impl"):
            setattr(self, name, lambda plugin_id, name=name: self._decorator(plugin_id, name))

    @staticmethod
    def cdiv(a: int, b: int) -> int:
        return -(-a // b)

    def _decorator(self, plugin_id: str, name: str) -> Callable[..., Any]:
        assert plugin_id == "mimicam::warp_blend"

        def keep(function: Callable[..., Any]) -> Callable[..., Any]:
            parameters = inspect.signature(function).parameters
            assert tuple(parameters) == ("feature", "activation", "flow", *LAST[name])
            assert all(not isinstance(p.annotation, str) for p in parameters.values()), "TensorRT reads types"
            assert all(parameters[n].annotation is Desc for n in ("feature", "activation", "flow"))
            self.functions[name] = function
            return function

        return keep


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plugin | None], Any]:
    def install(plugin: Plugin | None) -> Any:
        found = ModuleType("fake_tensorrt")
        found.float16 = "FP16"
        found.TensorFormat = SimpleNamespace(HWC8="HWC8")
        monkeypatch.setitem(sys.modules, "fake_tensorrt", found)
        if plugin is not None:
            monkeypatch.setitem(sys.modules, "fake_tensorrt.plugin", plugin)
        return found

    monkeypatch.setattr(tensorrt_plugin, "_registered", set())
    return install


@pytest.fixture
def registered(module: Callable[..., Any]) -> Plugin:
    try:
        _cupy.cupy().cuda.nvrtc.getVersion()
    except (KernelBuildError, RuntimeError, OSError, ImportError) as error:
        pytest.skip(str(error))
    plugin = Plugin()
    tensorrt_plugin.register(module(plugin), "9.0")
    return plugin


def test_a_tensorrt_without_python_plugins_says_what_to_do(module: Callable[..., Any]) -> None:
    with pytest.raises(EngineError, match=r"--warp gridsample, or install TensorRT 10.8"):
        tensorrt_plugin.register(module(None), "9.0")


def test_both_outputs_look_like_the_activation(registered: Plugin) -> None:
    describe = registered.functions["register"]
    for output in describe(Desc((1, 8, 4, 4), "FP16"), Desc((1, 8, 6, 6), "FP16"), None):
        assert output.shape_expr == [1, 8, 6, 6]


def test_the_flow_is_single_precision_in_every_combination(registered: Plugin) -> None:
    for channels, count in ((16, 3), (12, 2)):
        found = registered.functions["autotune"](None, Desc((1, channels, 6, 6), "FP16"), None, None)
        assert len(found) == count, "channels last only where they come in eights"
        for combination in found:
            types, formats = (part.split(", ") for part in combination)
            assert (types.pop(2), formats.pop(2)) == ("FP32", "LINEAR")
            assert len(set(types)) == len(set(formats)) == 1


def test_it_is_registered_once(registered: Plugin) -> None:
    registered.functions.clear()
    tensorrt_plugin.register(sys.modules["fake_tensorrt"], "9.0")
    assert not registered.functions


@pytest.mark.parametrize(
    "case",
    [
        Warp(N=2, C=11, map_size=(7, 9), size=(8, 10)),
        Warp(N=1, C=12, map_size=(5, 5), size=(5, 5), dtype=torch.float16),
        Warp(N=2, C=16, map_size=(6, 7), size=(9, 4), dtype=torch.float16, packed=True),
    ],
    ids=str,
)
def test_the_kernel_that_a_plan_carries_computes_the_reference(
    case: Warp, registered: Plugin, emulator: Path
) -> None:
    inputs = case.tensors()
    name, ptx, launch, numbers = _implemented(registered, case)
    assert f".entry {name.decode()}(".encode() in ptx
    outputs = [torch.full_like(inputs[1], torch.nan) for _ in range(2)]
    grid = tuple(getattr(launch, f"grid_{axis}", 1) for axis in "xyz")
    with emulation.on_cpu(emulator):  # TensorRT's order: inputs, numbers, outputs
        call = (*inputs, *numbers, *outputs)
        _launch.launch("warp_blend", name.decode(), grid, (launch.block_x, 1, 1), *call)
    for got, want in zip(outputs, reference(*inputs), strict=True):
        assert apart(got, want) <= (2e-5 if case.dtype is torch.float32 else 1e-3)


def test_an_older_tensorrt_calls_back_on_its_own_stream(
    module: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(ahead=False)
    tensorrt_plugin.register(module(plugin), "9.0")
    streams: list[int] = []

    class OnStream:
        def __init__(self, stream: int) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            streams.append(self.stream)

        def __exit__(self, *_error: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda address: address)
    monkeypatch.setattr(torch.cuda, "stream", OnStream)
    monkeypatch.setattr(torch, "as_tensor", lambda value, **_where: value)
    inputs = Warp(N=1, C=3, map_size=(4, 4), size=(5, 5)).tensors()
    outputs = tuple(torch.full_like(inputs[1], torch.nan) for _ in range(2))
    plugin.functions["impl"](*inputs, outputs, 77)
    assert streams == [77]
    assert all(map(torch.equal, outputs, reference(*inputs)))


def _implemented(plugin: Plugin, case: Warp) -> tuple[bytes, bytes, Any, list[int]]:
    kind = "FP16" if case.dtype is torch.float16 else "FP32"
    layout = "HWC8" if case.packed else "LINEAR"
    feature = Desc((case.N, case.C, *case.map_size), kind, layout)
    activation = Desc((case.N, case.C, *case.size), kind, layout)
    flow = Desc((case.N, 3, *case.size), "FP32")
    return plugin.functions["aot_impl"](feature, activation, flow, None, 0)
