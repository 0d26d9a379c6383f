"""One GPU and one stream of it, through PyTorch: memory, copies, captured graphs. Importing this
needs no torch.

A session has one ``Gpu`` and all its work runs on that stream. A whole step (upload, networks,
download) is captured once as a CUDA graph and replayed for each frame. The host waits for that
frame's own event and never for the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mimicam.engine.backends.export_folder import Array
from mimicam.engine.errors import EngineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_WARM_UPS = 3
"""Runs before a capture. Lazy loading and the first allocations are not allowed inside one (CUDA
programming guide, "Creating a Graph Using Stream Capture")."""

_PATIENCE_NS = 2_000_000
"""Nanoseconds that a wait for a frame polls its event before the thread sleeps."""


class Gpu(Protocol):
    """One device and one stream of it. ``CudaGpu``, or a fake in tests."""

    name: str
    compute_capability: str
    """``8.9``"""
    driver: str
    stream: int
    """Address of the stream."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate device memory, filled with zeros."""

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate page-locked host memory, for asynchronous copies."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what ``work`` queues. The result replays it in one call."""

    def on_stream(self, work: Callable[[], None]) -> None:
        """Run ``work`` with this stream as the current one."""

    def wait_for_current_stream(self) -> None:
        """Let later work on this stream wait for the calling thread's current stream."""

    def record_event(self) -> Callable[[], None]:
        """Record an event at the present end of the stream. The result waits for it."""


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
        # One pool for all graphs: they run one after another, and nothing they leave lies in it.
        self._pool = self._torch.cuda.graph_pool_handle()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """See ``Gpu``."""
        # On our own stream: nothing orders it after the default stream, on which the zeros might
        # come late.
        with self._torch.cuda.stream(self._stream):
            tensor: Tensor = self._torch.zeros(shape, dtype=dtype, device=self._device)
        return tensor

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """See ``Gpu``."""
        # Page-locked: only from such memory do copies run beside kernels, and within a graph.
        tensor: Tensor = self._torch.zeros(shape, dtype=dtype, pin_memory=True)
        return tensor

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Gpu``. Runs ``work`` a few times first."""
        with self._torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                work()
        # Before the capture, which may not contain work that began outside of it.
        self._stream.synchronize()
        graph = self._torch.cuda.CUDAGraph()
        # thread_local: the camera thread may allocate while we capture.
        options = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        with no_collection(), self._torch.cuda.graph(graph, **options):
            work()
        return partial(self.on_stream, graph.replay)

    def on_stream(self, work: Callable[[], None]) -> None:
        """See ``Gpu``."""
        with self._torch.cuda.stream(self._stream):
            work()

    def wait_for_current_stream(self) -> None:
        """See ``Gpu``."""
        self._stream.wait_stream(self._torch.cuda.current_stream(self._device))

    def record_event(self) -> Callable[[], None]:
        """See ``Gpu``. The waiting thread polls for 2 ms, then sleeps. Waking takes an interrupt:
        tens of microseconds in a virtual machine."""
        # Blocking, so that a wait beyond the polling below costs no core.
        event = self._torch.cuda.Event(blocking=True)
        event.record(self._stream)
        return partial(_wait, event)


class Upload:
    """Copies host values into a device tensor. Within a captured step the copy is part of the
    graph."""

    def __init__(self, gpu: Gpu, target: Tensor) -> None:
        self.target, self._staging = target, gpu.pinned(tuple(target.shape), target.dtype)
        """The tensor that receives the values."""
        self.host: Array = self._staging.numpy()
        """Write here before the step starts. Write again only after its download has arrived."""

    def enqueue(self) -> None:
        """Queue the copy on the current stream."""
        self.target.copy_(self._staging, non_blocking=True)


class Download:
    """Copies a device tensor into host values."""

    def __init__(self, gpu: Gpu, source: Tensor) -> None:
        self.source, self._staging = source, gpu.pinned(tuple(source.shape), source.dtype)
        """The tensor that is read."""
        self.host: Array = self._staging.numpy()
        """Read here after waiting for the step."""

    def enqueue(self) -> None:
        """Queue the copy on the current stream."""
        self._staging.copy_(self.source, non_blocking=True)


class CapturedGraph:
    """A frame's work on the GPU, captured once: call it, then wait for what it returns."""

    def __init__(self, gpu: Gpu, work: Callable[[], None]) -> None:
        """Capture.

        Args:
            gpu: whose stream ``work`` queues on.
            work: queues copies, kernels and networks; allocates nothing, waits for nothing.
        """
        self._gpu, self._replay = gpu, gpu.capture(work)

    def __call__(self) -> Callable[[], None]:
        """Replay the graph. Returns before the GPU has run it; the result waits for this replay
        alone."""
        self._replay()
        return self._gpu.record_event()


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Prevent garbage collection within. It might free pinned memory or another graph, which a
    capture does not allow."""
    # Now, so that little is left to collect while it is off.
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _wait(event: torch.cuda.Event) -> None:
    end_ns = time.perf_counter_ns() + _PATIENCE_NS
    while not event.query():
        if time.perf_counter_ns() > end_ns:
            event.synchronize()
            return
        time.sleep(0)  # other threads get the interpreter


def driver_version() -> str:
    """Read the NVIDIA driver's version from its management library, or from ``nvidia-smi`` where
    that is not found.

    ``unknown`` where neither is there. PyTorch has found the GPU by then; the version only
    separates plans of different drivers.

    Raises:
        EngineError: the driver does not answer.
    """
    library = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return _version_by_tool()
    text = ctypes.create_string_buffer(96)
    status = nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, len(text))
    if status:
        raise EngineError(f"the NVIDIA driver does not answer (NVML error {status}): restart the machine")
    return text.value.decode()


def _version_by_tool() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.split()
    return lines[0] if done.returncode == 0 and lines else "unknown"


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
