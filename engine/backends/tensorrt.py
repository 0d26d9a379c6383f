"""Networks as TensorRT plans on one GPU stream. Importing this needs neither TensorRT nor torch.

A session has one ``Gpu``: one device, one stream. All its networks queue there, so a whole step (upload, crop,
encode, edit, generate, paste, download) is captured once as a CUDA graph and replayed for each frame; the host waits
for that frame's own event and never for the device.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from engine.backends import manifest as manifests
from engine.backends.manifest import Array, Manifest, NetworkFile
from engine.backends.plan_cache import PlanCache, PlanKey, PlanRefused, write_private
from engine.backends.tensorrt_api import BuildRequest, PlanNotLoaded, Progress, TensorRt
from engine.errors import EngineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_log = logging.getLogger(__name__)

_WARM_UPS = 3
"""Runs before a capture: lazy loading and the first allocations are not allowed inside one (CUDA programming
guide, "Creating a Graph Using Stream Capture")."""


class Gpu(Protocol):
    """One device and one stream of it. ``CudaGpu``, or a fake in tests."""

    name: str
    compute_capability: str
    """``8.9``"""
    driver: str
    stream: int
    """Address of the stream."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Device memory."""

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Host memory that the device copies from and to without help of the processor."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what ``work`` queues; the result queues it again, in one call."""

    def queue(self, work: Callable[[], None]) -> None:
        """Run ``work`` with its copies and kernels on this stream."""

    def follow(self) -> None:
        """What is queued here from now on starts after what the calling thread has queued elsewhere."""

    def mark(self) -> Callable[[], None]:
        """Mark the present end of the stream; the result waits until the GPU is there."""


class CudaGpu:
    """A real GPU, through torch."""

    def __init__(self, device: int = 0) -> None:
        """Open it, with a stream of its own.

        Raises:
            EngineError: torch is missing or built for the CPU, or there is no such GPU.
        """
        self._torch = _cuda_torch(device)
        self._device = self._torch.device("cuda", device)
        self._stream = self._torch.cuda.Stream(self._device)
        self.stream: int = self._stream.cuda_stream
        self.name: str = self._torch.cuda.get_device_name(self._device)
        major, minor = self._torch.cuda.get_device_capability(self._device)
        self.compute_capability = f"{major}.{minor}"
        self.driver = driver_version()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """See ``Gpu``."""
        tensor: Tensor = self._torch.zeros(shape, dtype=dtype, device=self._device)
        return tensor

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """See ``Gpu``."""
        tensor: Tensor = self._torch.zeros(shape, dtype=dtype, pin_memory=True)
        return tensor

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Gpu``. Runs ``work`` a few times first."""
        with self._torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                work()
        self._stream.synchronize()
        graph = self._torch.cuda.CUDAGraph()
        # thread_local: the camera thread may allocate while we capture.
        with self._torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return partial(self.queue, graph.replay)

    def queue(self, work: Callable[[], None]) -> None:
        """See ``Gpu``."""
        with self._torch.cuda.stream(self._stream):
            work()

    def follow(self) -> None:
        """See ``Gpu``."""
        self._stream.wait_stream(self._torch.cuda.current_stream(self._device))

    def mark(self) -> Callable[[], None]:
        """See ``Gpu``. The waiting thread sleeps, it does not spin."""
        event = self._torch.cuda.Event(blocking=True)
        event.record(self._stream)
        wait: Callable[[], None] = event.synchronize
        return wait


class TensorRtNetwork:
    """A plan with its memory: fill ``inputs``, ``enqueue``, read ``outputs``. One thread, one stream.

    The tensors keep their addresses for life, so that a captured graph stays valid.
    """

    def __init__(
        self,
        api: TensorRt,
        plan: bytes,
        gpu: Gpu,
        runtime_cache: bytes | None = None,
        network: NetworkFile | None = None,
    ) -> None:
        """Load a plan.

        Args:
            api: what built it.
            plan: its content.
            gpu: where it runs.
            runtime_cache: TensorRT for RTX: kernels it compiled on an earlier start.
            network: names the ports, in order, where the plan's own names are another's (torch-tensorrt's).

        Raises:
            EngineError: the plan is refused, or the GPU's memory is full.
        """
        self._gpu, self._engine = gpu, api.load(plan)
        self._context, self.runtime_cache = api.context(self._engine, runtime_cache)
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._is_input = {name: self._mode(api.module, name) for name in names}
        self._own = self._own_names(names, network)
        for name in names:
            self._add_port(name)

    def enqueue(self) -> None:
        """Queue one run. Neither waits nor allocates.

        Raises:
            EngineError: TensorRT refuses to start.
        """
        if not self._context.execute_async_v3(self._gpu.stream):
            raise EngineError("TensorRT did not start a network: restart mimicam, or choose another backend")

    def share(self, name: str, tensor: Tensor) -> None:
        """Read an input from another network's output instead of copying it. Before any capture.

        Raises:
            ValueError: shape, type or layout differ.
        """
        own = self.inputs[name]
        if tensor.shape != own.shape or tensor.dtype != own.dtype or not tensor.is_contiguous():
            raise ValueError(f"input '{name}' is {own.dtype} {tuple(own.shape)}, got {tensor.dtype}")
        self.inputs[name] = tensor
        self._context.set_tensor_address(self._own[name], tensor.data_ptr())

    def run(self, inputs: manifests.Arrays) -> dict[str, Array]:
        """Copy in, run once, wait, copy out: for checks, not for frames."""
        import torch

        def work() -> None:
            for name, value in inputs.items():
                self.inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))
            self.enqueue()

        self._gpu.queue(work)
        self._gpu.mark()()
        return {name: value.cpu().numpy() for name, value in self.outputs.items()}

    def warm_up(self) -> None:
        """Run once on whatever the inputs hold, and wait: TensorRT for RTX compiles its kernels then."""
        self._gpu.queue(self.enqueue)
        self._gpu.mark()()

    def _mode(self, module: Any, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == module.TensorIOMode.INPUT)

    def _own_names(self, names: list[str], network: NetworkFile | None) -> dict[str, str]:
        """The plan's name of each port, by the network's: the same, or by order."""
        inputs, outputs = ([n for n in names if self._is_input[n] is side] for side in (True, False))
        if network is None:
            return {name: name for name in names}
        wanted = [port.name for port in (*network.inputs, *network.outputs)]
        if set(wanted) == set(names):
            return {name: name for name in names}
        if (len(inputs), len(outputs)) != (len(network.inputs), len(network.outputs)):
            raise EngineError(
                f"the plan of {network.name} has other inputs and outputs: export the model again"
            )
        return dict(zip(wanted, inputs + outputs, strict=True))

    def _add_port(self, name: str) -> None:
        is_input = self._is_input[name]
        shape = tuple(self._engine.get_tensor_shape(name))
        if is_input and -1 in shape:
            shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[1])
        if is_input:
            self._context.set_input_shape(name, shape)
        else:
            shape = tuple(self._context.get_tensor_shape(name))
        tensor = self._gpu.empty(shape, _dtype(self._engine.get_tensor_dtype(name)))
        shown = next(shown for shown, own in self._own.items() if own == name)
        (self.inputs if is_input else self.outputs)[shown] = tensor
        self._context.set_tensor_address(name, tensor.data_ptr())


class Upload:
    """Host values into a device tensor. Within a captured step the copy is part of the graph."""

    def __init__(self, gpu: Gpu, target: Tensor) -> None:
        self.target, self._staging = target, gpu.pinned(tuple(target.shape), target.dtype)
        """Where they arrive."""
        self.host: Array = self._staging.numpy()
        """Write here before the step starts, and not again before its download is there."""

    def enqueue(self) -> None:
        """Queue the copy."""
        self.target.copy_(self._staging, non_blocking=True)


class Download:
    """A device tensor into host values."""

    def __init__(self, gpu: Gpu, source: Tensor) -> None:
        self.source, self._staging = source, gpu.pinned(tuple(source.shape), source.dtype)
        """Where they come from."""
        self.host: Array = self._staging.numpy()
        """Read here after waiting for the step."""

    def enqueue(self) -> None:
        """Queue the copy."""
        self._staging.copy_(self.source, non_blocking=True)


class Step:
    """A frame's work on the GPU, captured once: call it, then wait for what it returns."""

    def __init__(self, gpu: Gpu, work: Callable[[], None]) -> None:
        """Capture.

        Args:
            gpu: whose stream ``work`` queues on.
            work: queues copies, kernels and networks; allocates nothing, waits for nothing.
        """
        self._gpu, self._replay = gpu, gpu.capture(work)

    def __call__(self) -> Callable[[], None]:
        """Queue the step. Returns before the GPU has done it; the result waits for this step alone."""
        self._replay()
        return self._gpu.mark()


def open_network(
    folder: Path,
    name: str,
    *,
    api: TensorRt,
    gpu: Gpu,
    cache: PlanCache,
    progress: Progress | None = None,
) -> TensorRtNetwork:
    """A network of an exported model: from its stored plan, or a new one that was compared with PyTorch.

    A build takes seconds with TensorRT for RTX and minutes with TensorRT; run it in a thread of its own while another
    backend serves frames.

    Raises:
        EngineError: the export is damaged, the plan does not build, or it is not the reference.
    """
    manifest = manifests.read_manifest(folder)
    network = manifest.network(name)
    key = plan_key(manifest, network, api, gpu)
    if manifest.warp == "plugin":
        api.take_plugins(gpu.compute_capability)

    def build() -> bytes:
        request = build_request(folder, manifest, network)
        built = api.build(request, timing_cache=cache.read(cache.timing_cache(key)), progress=progress)
        if built.timing_cache is not None:
            write_private(cache.timing_cache(key), built.timing_cache)
        return built.plan

    def verify(plan: bytes) -> None:
        _verify(folder, manifest, network, plan, api, gpu)

    def opened() -> TensorRtNetwork:
        plan, kernels = cache.obtain(key, build, verify), cache.read(cache.runtime_cache(key))
        found = TensorRtNetwork(api, plan, gpu, kernels, network)
        found.warm_up()
        if (compiled := found.runtime_cache()) and compiled != kernels:
            write_private(cache.runtime_cache(key), compiled)
        return found

    try:
        return opened()
    except PlanNotLoaded as refusal:
        _log.info("building the plan of %s anew: %s", name, refusal)
        cache.forget(key)
        return opened()


def is_built(folder: Path, *, api: TensorRt, gpu: Gpu, cache: PlanCache) -> bool:
    """Whether every network of an export has a stored plan for this GPU, so that opening takes no time.

    Raises:
        EngineError: the export is damaged.
    """
    manifest = manifests.read_manifest(folder)
    try:
        for network in manifest.networks:
            cache.load(plan_key(manifest, network, api, gpu))
    except PlanRefused:
        return False
    return True


def keep_plan(folder: Path, name: str, plan: bytes, *, api: TensorRt, gpu: Gpu, cache: PlanCache) -> None:
    """Compare a plan that somebody else built with PyTorch, and store it where ``open_network`` finds it.

    Raises:
        EngineError: it is not the reference; then nothing is stored.
    """
    manifest = manifests.read_manifest(folder)
    network = manifest.network(name)
    _verify(folder, manifest, network, plan, api, gpu)
    cache.store(plan_key(manifest, network, api, gpu), plan)


def _verify(
    folder: Path, manifest: Manifest, network: NetworkFile, plan: bytes, api: TensorRt, gpu: Gpu
) -> None:
    inputs, reference = manifests.read_check(folder, network)
    got = TensorRtNetwork(api, plan, gpu, network=network).run(inputs)
    manifests.require(manifests.compare(reference, got), manifest.limit, f"the plan of {network.name}")


def build_request(
    folder: Path, manifest: Manifest, network: NetworkFile, compute_capabilities: tuple[str, ...] = ()
) -> BuildRequest:
    """What to ask of ``TensorRt.build``.

    Raises:
        EngineError: the ONNX file is missing or has changed.
    """
    return BuildRequest(
        onnx=manifests.onnx_path(folder, network),
        shapes={port.name: port.shape for port in network.inputs},
        half=manifest.precision != "fp32",
        compute_capabilities=compute_capabilities,
    )


def plan_key(manifest: Manifest, network: NetworkFile, api: TensorRt, gpu: Gpu) -> PlanKey:
    """What a network's plan on this GPU depends on."""
    return PlanKey(
        network=network.name,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        runtime=api.name,
        onnx_sha256=network.sha256,
        precision=manifest.precision,
        shapes=tuple((port.name, port.shape) for port in network.inputs),
    )


def driver_version() -> str:
    """The NVIDIA driver's own version, from its management library.

    Raises:
        EngineError: there is no driver, or it does not answer.
    """
    library = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
    try:
        nvml = ctypes.CDLL(library)
    except OSError as error:
        raise EngineError(
            f"no NVIDIA driver here ({error}): install it, or choose another backend"
        ) from error
    text = ctypes.create_string_buffer(96)
    status = nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, len(text))
    if status:
        raise EngineError(f"the NVIDIA driver does not answer (NVML error {status}): restart the machine")
    return text.value.decode()


def _cuda_torch(device: int) -> Any:
    try:
        import torch
    except ImportError as error:
        raise EngineError("the TensorRT backend needs PyTorch: pip install 'mimicam[gpu]'") from error
    if torch.version.cuda is None:
        raise EngineError("this PyTorch is built for the CPU: install a CUDA build, see docs/gpu.md")
    if device >= torch.cuda.device_count():
        raise EngineError(
            f"there is no GPU {device} that PyTorch can use: see 'nvidia-smi', or choose another backend"
        )
    return torch


def _dtype(dtype: Any) -> torch.dtype:
    import torch

    name = str(dtype).rsplit(".", 1)[-1]
    known = {"FLOAT": torch.float32, "HALF": torch.float16, "INT32": torch.int32, "UINT8": torch.uint8}
    if name not in known:
        raise EngineError(
            f"a plan wants {name} values, which mimicam does not handle: export the model again"
        )
    return known[name]
