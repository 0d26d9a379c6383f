"""The TensorRT backend against a TensorRT and a GPU that are made of Python."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda import device as cuda_device
from mimicam.engine.backends.export_folder import Manifest, NetworkFile
from mimicam.engine.backends.tensorrt import api as tensorrt_api
from mimicam.engine.backends.tensorrt import network as tensorrt
from mimicam.engine.backends.tensorrt.api import BuildRequest, TensorRt
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.network_spec import TensorSpec

torch = pytest.importorskip("torch", reason="the TensorRT backend needs torch")

SHAPE = (1, 6)


class FakeGpu:
    """Host memory, and a stream on which work waits until someone waits for it."""

    name, compute_capability, driver, stream = "Fake RTX", "8.9", "1.2.3", 77

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.captures = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.full(shape, -1, dtype=dtype)

    pinned = empty

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        return lambda: self.waiting.append(work)

    def on_stream(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def wait_for_current_stream(self) -> None: ...

    def record_event(self) -> Callable[[], None]:
        count = len(self.waiting)

        def wait() -> None:
            for work in self.waiting[:count]:
                work()
            del self.waiting[:count]

        return wait


class FakeEngine:
    """``y = factor * x``, at the addresses it is given."""

    num_io_tensors = 2

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._address: dict[str, int] = {}
        self.starts: list[int] = []

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, SHAPE[1]) if name == "x" else SHAPE

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [SHAPE] * 3

    def get_tensor_dtype(self, _name: str) -> str:
        return "DataType.FLOAT"

    def create_execution_context(self) -> FakeEngine:
        return self

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert (name, shape) == ("x", SHAPE)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._address[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.starts.append(stream)
        x, y = ((ctypes.c_float * SHAPE[1]).from_address(self._address[name]) for name in "xy")
        for i, value in enumerate(x):
            y[i] = self._factor * value
        return True


class FakeApi:
    """Builds ``plan <factor>``; ``factors`` gives one after another."""

    name, flavour = "tensorrt 10.0", "tensorrt"
    module = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="in"))

    def __init__(self, *factors: float) -> None:
        self.factors = list(factors)
        self.requests: list[BuildRequest] = []
        self.given_timing: list[bytes | None] = []
        self.given_kernels: list[bytes | None] = []
        self.kernels = b""
        self.refused = 0

    def build(
        self, request: BuildRequest, *, timing_cache: bytes | None, progress: object
    ) -> tensorrt_api.Built:
        del progress
        self.requests.append(request)
        self.given_timing.append(timing_cache)
        return tensorrt_api.Built(plan=b"plan %f" % self.factors.pop(0), timing_cache=b"timed")

    def load(self, plan: bytes) -> FakeEngine:
        if self.refused:
            self.refused -= 1
            raise tensorrt_api.PlanNotLoaded("tensorrt 10.0 refuses the plan (too old)")
        return FakeEngine(float(plan.split()[1]))

    def context(self, engine: FakeEngine, cache: bytes | None) -> tuple[FakeEngine, Callable[[], bytes]]:
        self.given_kernels.append(cache)
        return engine, lambda: self.kernels if engine.starts else b""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An exported network that doubles its input."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"doubles")
    x = np.arange(6, dtype=np.float32).reshape(SHAPE)
    export_folder.write_check(folder / "net.npz", {"x": x}, {"y": 2 * x})
    ports = {"inputs": (TensorSpec(name="x", shape=SHAPE, dtype="float32"),)}
    ports["outputs"] = (TensorSpec(name="y", shape=SHAPE, dtype="float32"),)
    sha256 = sha256_of(folder / "net.onnx")
    network = NetworkFile(name="net", onnx="net.onnx", sha256=sha256, check="net.npz", **ports)
    export_folder.write_manifest(
        folder,
        Manifest(model="m", model_sha256="0", precision="fp16", opset=20, limit=0.01, networks=(network,)),
    )
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_new_plan_is_built_compared_and_kept(export: Path, cache: PlanCache) -> None:
    api = FakeApi(2.0)
    tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert api.requests[0].shapes == {"x": SHAPE}
    assert api.requests[0].half
    again = tensorrt.open_network(export, "net", api=FakeApi(), gpu=FakeGpu(), cache=cache)
    assert again.run({"x": np.ones(SHAPE, np.float32)})["y"].tolist() == [[2.0] * 6]


def test_a_plan_with_other_pictures_is_refused_and_not_kept(export: Path, cache: PlanCache) -> None:
    with pytest.raises(EngineError, match=r"the plan of net differs from PyTorch by 0.05 at 'y'"):
        tensorrt.open_network(export, "net", api=FakeApi(2.1), gpu=FakeGpu(), cache=cache)
    tensorrt.open_network(export, "net", api=FakeApi(2.0), gpu=FakeGpu(), cache=cache)


def test_a_stored_plan_that_tensorrt_does_not_take_is_built_anew(export: Path, cache: PlanCache) -> None:
    api = FakeApi(2.0, 2.0)
    api.kernels = b"compiled"
    tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    api.refused = 1
    network = tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert len(api.requests) == 2
    assert api.given_kernels[-1] is None, "kernels of the old plan are of no use to the new one"
    assert network.run({"x": np.ones(SHAPE, np.float32)})["y"].tolist() == [[2.0] * 6]


def test_a_new_plan_that_is_refused_is_an_error(export: Path, cache: PlanCache) -> None:
    api = FakeApi(2.0, 2.0, 2.0)
    api.refused = 9
    with pytest.raises(EngineError, match="refuses the plan"):
        tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert len(api.requests) <= 2
    assert not list(cache.folder.glob("*.plan"))


def test_an_export_is_built_once_all_its_networks_are(export: Path, cache: PlanCache) -> None:
    api, gpu = FakeApi(2.0), FakeGpu()
    assert not tensorrt.is_built(export, api=api, gpu=gpu, cache=cache)
    tensorrt.open_network(export, "net", api=api, gpu=gpu, cache=cache)
    assert tensorrt.is_built(export, api=api, gpu=gpu, cache=cache)


def test_another_driver_builds_another_plan(export: Path, cache: PlanCache) -> None:
    tensorrt.open_network(export, "net", api=FakeApi(2.0), gpu=FakeGpu(), cache=cache)
    updated = FakeGpu()
    updated.driver = "1.2.4"
    api = FakeApi(2.0)
    tensorrt.open_network(export, "net", api=api, gpu=updated, cache=cache)
    assert len(api.requests) == 1


def test_a_rebuild_on_the_same_gpu_reuses_its_measurements(export: Path, cache: PlanCache) -> None:
    api = FakeApi(2.0, 2.0)
    tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    for plan in cache.folder.glob("*.plan"):
        plan.write_bytes(b"tampered with")
    tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert api.given_timing == [None, b"timed"]


def test_compiled_kernels_are_kept_for_the_next_start(export: Path, cache: PlanCache) -> None:
    api = FakeApi(2.0)
    api.kernels = b"compiled"
    for _ in range(2):
        tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert api.given_kernels[-1] == b"compiled"
    assert len(api.requests) == 1


def test_a_step_returns_before_its_work_is_done() -> None:
    gpu = FakeGpu()
    network = tensorrt.TensorRtNetwork(FakeApi(), b"plan 3", gpu)
    upload, download = (
        cuda_device.Upload(gpu, network.inputs["x"]),
        cuda_device.Download(gpu, network.outputs["y"]),
    )

    def work() -> None:
        upload.enqueue()
        network.enqueue()
        download.enqueue()

    step = cuda_device.CapturedGraph(gpu, work)
    upload.host[:] = 5
    done = step()
    assert download.host.max() == -1, "nothing may have waited yet"
    done()
    assert download.host.tolist() == [[15.0] * 6]
    upload.host[:] = 7
    step()()
    assert download.host.tolist() == [[21.0] * 6]
    assert gpu.captures == 1


def test_a_plan_with_names_of_its_own_is_known_by_the_networks(export: Path) -> None:
    entry = export_folder.read_manifest(export).network("net")
    ports = {"inputs": (replace(entry.inputs[0], name="image"),)}
    ports["outputs"] = (replace(entry.outputs[0], name="code"),)
    network = tensorrt.TensorRtNetwork(FakeApi(), b"plan 3", FakeGpu(), network=replace(entry, **ports))
    assert network.run({"image": np.ones(SHAPE, np.float32)})["code"].tolist() == [[3.0] * 6]
    more = replace(entry, inputs=(*ports["inputs"], replace(entry.inputs[0], name="other")))
    with pytest.raises(EngineError, match="other inputs and outputs"):
        tensorrt.TensorRtNetwork(FakeApi(), b"plan 3", FakeGpu(), network=more)


def test_a_plan_from_elsewhere_is_compared_before_it_is_kept(export: Path, cache: PlanCache) -> None:
    api = FakeApi()
    with pytest.raises(EngineError, match="the plan of net differs"):
        tensorrt.store_verified(export, "net", b"plan 2.5", api=api, gpu=FakeGpu(), cache=cache)
    tensorrt.store_verified(export, "net", b"plan 2", api=api, gpu=FakeGpu(), cache=cache)
    opened = tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert opened.run({"x": np.ones(SHAPE, np.float32)})["y"].tolist() == [[2.0] * 6]
    assert not api.requests


def test_plugins_are_made_known_before_a_network_that_has_them(export: Path, cache: PlanCache) -> None:
    export_folder.write_manifest(export, replace(export_folder.read_manifest(export), warp="plugin"))
    api = FakeApi(2.0)
    api.taken = []
    api.take_plugins = api.taken.append
    tensorrt.open_network(export, "net", api=api, gpu=FakeGpu(), cache=cache)
    assert api.taken == ["8.9"]


def test_every_network_runs_on_the_sessions_stream() -> None:
    network = tensorrt.TensorRtNetwork(FakeApi(), b"plan 2", FakeGpu())
    network.enqueue()
    assert network._context.starts == [FakeGpu.stream]


def test_a_refused_start_is_an_error() -> None:
    network = tensorrt.TensorRtNetwork(FakeApi(), b"plan 2", FakeGpu())
    network._context.execute_async_v3 = lambda _stream: False
    with pytest.raises(EngineError, match="did not start"):
        network.enqueue()


def test_a_plan_with_unknown_values_is_an_error() -> None:
    with pytest.raises(EngineError, match="wants FP4 values"):
        tensorrt._dtype("DataType.FP4")


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
def test_a_torch_for_the_cpu_is_an_error_with_its_remedy() -> None:
    with pytest.raises(EngineError, match="install a CUDA build"):
        cuda_device.CudaGpu()


def test_importing_needs_neither_torch_nor_tensorrt() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'tensorrt', 'tensorrt_rtx'], None);"
        "from mimicam.engine.backends import export_folder;"
        "from mimicam.engine.backends.tensorrt import network, plan_cache"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_tensorrt_says_what_to_install(
    flavour: tensorrt_api.Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in tensorrt_api._MODULES[flavour]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match="pip install"):
        tensorrt_api.find(flavour)


@pytest.mark.parametrize(
    ("version", "flavour", "network_flags", "builder_flags"),
    [
        ("8.6.1", "tensorrt", 1 << 0, {"FP16", "OBEY_PRECISION_CONSTRAINTS"}),
        ("10.13.0", "tensorrt", 1 << 1, set()),
        ("11.4.0", "tensorrt", 0, set()),
        ("1.7.1", "tensorrt-rtx", 1 << 1, set()),
    ],
)
def test_each_version_is_told_about_types_in_its_own_way(
    version: str, flavour: tensorrt_api.Flavour, network_flags: int, builder_flags: set[str], tmp_path: Path
) -> None:
    module = _fake_module(version, strongly_typed_flag=version != "11.4.0")
    request = BuildRequest(onnx=tmp_path / "a.onnx", shapes={"x": (1, 2)}, half=True)
    built = TensorRt(module, flavour).build(request)
    assert module.seen["network_flags"] == network_flags
    assert module.seen["builder_flags"] == builder_flags
    assert (built.timing_cache is None) == (flavour == "tensorrt-rtx")


def test_a_build_for_another_gpu_needs_tensorrt_for_rtx(tmp_path: Path) -> None:
    request = BuildRequest(onnx=tmp_path / "a.onnx", shapes={"x": (1, 2)}, compute_capabilities=("8.9",))
    with pytest.raises(EngineError, match="only tensorrt-rtx"):
        TensorRt(_fake_module("10.13.0"), "tensorrt").build(request)


def test_inputs_that_the_manifest_does_not_name_are_an_error(tmp_path: Path) -> None:
    request = BuildRequest(onnx=tmp_path / "a.onnx", shapes={"z": (1, 2)})
    with pytest.raises(EngineError, match="has the inputs x, its manifest names z"):
        TensorRt(_fake_module("10.13.0"), "tensorrt").build(request)


def test_a_failed_build_carries_tensorrts_own_reason(tmp_path: Path) -> None:
    module = _fake_module("10.13.0", plan=None)
    with pytest.raises(EngineError, match=r"cannot build a\.onnx: out of tactics"):
        TensorRt(module, "tensorrt").build(BuildRequest(onnx=tmp_path / "a.onnx", shapes={"x": (1, 2)}))


def _fake_module(version: str, *, strongly_typed_flag: bool = True, plan: bytes | None = b"plan") -> Any:
    """As much of a TensorRT module as a build touches. What it was told lies in ``seen``."""
    seen: dict[str, Any] = {"builder_flags": set()}

    class Logger:
        def log(self, severity: int, message: str) -> None:
            raise NotImplementedError

    class Config:
        def set_memory_pool_limit(self, *_values: object) -> None: ...
        def add_optimization_profile(self, _profile: object) -> None: ...
        def set_timing_cache(self, *_values: object) -> None: ...
        def set_flag(self, flag: str) -> None:
            seen["builder_flags"].add(flag)

        def create_timing_cache(self, content: bytes) -> bytes:
            return content

        def get_timing_cache(self) -> Any:
            return SimpleNamespace(serialize=lambda: b"timed")

    class Builder:
        def __init__(self, logger: Logger) -> None:
            self._logger = logger

        def create_network(self, flags: int) -> Any:
            seen["network_flags"] = flags
            return SimpleNamespace(num_inputs=1, get_input=lambda _i: SimpleNamespace(name="x"))

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Any:
            return SimpleNamespace(set_shape=lambda *_values: None)

        def build_serialized_network(self, _network: object, _config: Config) -> bytes | None:
            if plan is None:
                self._logger.log(1, "out of tactics")
            return plan

    names = {"EXPLICIT_BATCH": 0} | ({"STRONGLY_TYPED": 1} if strongly_typed_flag else {})
    return SimpleNamespace(
        __version__=version,
        seen=seen,
        ILogger=Logger,
        Builder=Builder,
        OnnxParser=lambda _network, _logger: SimpleNamespace(
            parse_from_file=lambda _path: True, num_errors=0
        ),
        NetworkDefinitionCreationFlag=SimpleNamespace(**names),
        BuilderFlag=SimpleNamespace(FP16="FP16", OBEY_PRECISION_CONSTRAINTS="OBEY_PRECISION_CONSTRAINTS"),
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
    )
