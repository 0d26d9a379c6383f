"""TensorRT 8.6, 10, 11 and TensorRT for RTX behind one small interface. Importing this needs none
of them.

The differences, from each maker's release notes:

- 8.6 needs the explicit-batch flag and has no strong typing. A float16 ONNX file needs the
  builder's FP16 flag there. 10 has strong typing as a flag. 11 and RTX 1.x are always strongly
  typed, and lack the FP16 flag.
- RTX compiles its kernels on the user's GPU at load time, and a runtime cache keeps them. It builds
  without a GPU, for the compute capabilities it is given. The others time kernels on the GPU at
  build time (a timing cache).
- Progress monitors came with 10.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.tensorrt import plugin as tensorrt_plugin
from mimicam.engine.errors import EngineError

_log = logging.getLogger(__name__)

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: dict[Flavour, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_INSTALL: dict[Flavour, str] = {
    "tensorrt": "pip install tensorrt-cu13",
    "tensorrt-rtx": "pip install 'mimicam[rtx]'",
}
_WORKSPACE_BYTES = 2 << 30

Progress = Callable[[str, int, int], None]
"""Phase, steps done, steps in all."""

_NO_RTX = ("8.0", "9.0")
"""Compute capabilities of data-centre cards that TensorRT for RTX does not support."""


class PlanNotLoaded(EngineError):  # noqa: N818 - what happened, as PlanRefused
    """TensorRT does not accept a plan: another version wrote it, or it is damaged. A stored one is
    rebuilt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One build: the ONNX file, its shapes, its precision, its targets."""

    onnx: Path
    """float32, or mixed precision with the types in the file."""
    shapes: Mapping[str, tuple[int, ...]]
    """By input; plans are built for one shape."""
    half: bool = False
    """The file computes in float16."""
    int8: bool = False
    """The file has quantise and dequantise nodes."""
    compute_capabilities: tuple[str, ...] = ()
    """RTX only: ``("8.6", "8.9")``. Empty: the GPU of this machine, or without one, all it
    supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A plan, and the measurements that the next build may reuse."""

    plan: bytes
    timing_cache: bytes | None


class TensorRt:
    """One installed flavour of TensorRT."""

    def __init__(self, module: ModuleType, flavour: Flavour) -> None:
        self.module: Any = module
        self.flavour = flavour
        self.version = str(module.__version__)
        self._log = _Log()
        self._logger = _logger_class(module)(self._log)

    @property
    def name(self) -> str:
        """Flavour and version: ``tensorrt-rtx 1.7.1.116``."""
        return f"{self.flavour} {self.version}"

    def build(
        self, request: BuildRequest, *, timing_cache: bytes | None = None, progress: Progress | None = None
    ) -> Built:
        """Compile an ONNX file to a plan.

        Raises:
            EngineError: the file does not parse or build; carries TensorRT's own last error.
        """
        self._log.errors.clear()
        builder = self.module.Builder(self._logger)
        network = self._parse(builder, request)
        config = builder.create_builder_config()
        # Without a limit TensorRT may take all of the GPU, which the session already uses.
        config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
        self._fix_shapes(builder, config, network, request)
        self._set_precision(config, request)
        self._set_targets(config, request)
        # RTX times nothing at build time.
        if self.flavour == "tensorrt":
            config.set_timing_cache(config.create_timing_cache(timing_cache or b""), False)
        monitor = None if progress is None else _monitor(self.module, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"{self.name} cannot build {request.onnx.name}: {self._log.last()}")
        # Measurements of layers, which make the next build of a similar network shorter.
        kept = config.get_timing_cache() if self.flavour == "tensorrt" else None
        return Built(plan=bytes(plan), timing_cache=None if kept is None else bytes(kept.serialize()))

    def take_plugins(self, compute_capability: str) -> None:
        """Register our plug-ins, before a network that has them is built or loaded.

        Raises:
            EngineError: this TensorRT takes none from Python.
        """
        tensorrt_plugin.register(self.module, compute_capability)

    def load(self, plan: bytes) -> Any:
        """The engine of a plan. Needs a GPU.

        Raises:
            PlanNotLoaded: TensorRT refuses the plan.
        """
        self._log.errors.clear()
        runtime = self.module.Runtime(self._logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise PlanNotLoaded(f"{self.name} refuses the plan ({self._log.last()}): delete the plan cache")
        return engine

    def context(self, engine: Any, runtime_cache: bytes | None = None) -> tuple[Any, Callable[[], bytes]]:
        """An execution context, and a function that gives the kernels RTX has compiled so far.

        Raises:
            EngineError: most often the GPU's memory is full.
        """
        if self.flavour == "tensorrt":
            return self._checked(engine.create_execution_context()), bytes
        config = engine.create_runtime_config()
        cache = config.create_runtime_cache()
        if runtime_cache:
            cache.deserialize(runtime_cache)
        config.set_runtime_cache(cache)
        return self._checked(engine.create_execution_context(config)), lambda: bytes(cache.serialize())

    def _checked(self, context: Any) -> Any:
        if context is None:
            raise EngineError(
                f"{self.name} has no context ({self._log.last()}): free GPU memory and try again"
            )
        return context

    def _parse(self, builder: Any, request: BuildRequest) -> Any:
        network = builder.create_network(self._network_flags())
        parser = self.module.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(request.onnx)):
            reason = str(parser.get_error(0)).splitlines()[0] if parser.num_errors else self._log.last()
            raise EngineError(f"{self.name} does not read {request.onnx.name}: {reason}")
        return network

    def _network_flags(self) -> int:
        flags, names = 0, self.module.NetworkDefinitionCreationFlag
        if self._major() < 10 and self.flavour == "tensorrt":
            # 8.6 still has the implicit batch of older versions, which the ONNX parser refuses.
            flags |= 1 << int(names.EXPLICIT_BATCH)
        elif hasattr(names, "STRONGLY_TYPED"):
            flags |= 1 << int(names.STRONGLY_TYPED)
        return flags

    def _fix_shapes(self, builder: Any, config: Any, network: Any, request: BuildRequest) -> None:
        profile = builder.create_optimization_profile()
        # Refused here by name; TensorRT would only report an invalid profile.
        names = {network.get_input(i).name for i in range(network.num_inputs)}
        if names != set(request.shapes):
            raise EngineError(
                f"{request.onnx.name} has the inputs {', '.join(sorted(names))}, its manifest names"
                f" {', '.join(sorted(request.shapes))}: export the model again"
            )
        for name, shape in request.shapes.items():
            # Minimum, optimum and maximum alike: sizes never change, and TensorRT tunes for one.
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)

    def _set_precision(self, config: Any, request: BuildRequest) -> None:
        # From 10 on the network is strongly typed, and the file's own types decide.
        if request.int8 and self._major() < 10 and self.flavour == "tensorrt":
            config.set_flag(self.module.BuilderFlag.INT8)
        if request.half and self._major() < 10 and self.flavour == "tensorrt":
            config.set_flag(self.module.BuilderFlag.FP16)
            # Or the builder could compute grids in float16 because that is faster.
            config.set_flag(self.module.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)

    def _set_targets(self, config: Any, request: BuildRequest) -> None:
        if not request.compute_capabilities:
            return
        if self.flavour != "tensorrt-rtx":
            raise EngineError("only tensorrt-rtx builds for another GPU: leave out --compute-capability")
        known = self.module.ComputeCapability
        config.num_compute_capabilities = len(request.compute_capabilities)
        for index, capability in enumerate(request.compute_capabilities):
            name = f"SM{capability.replace('.', '')}"
            if not hasattr(known, name):
                raise EngineError(f"{self.name} does not build for compute capability {capability}")
            config.set_compute_capability(getattr(known, name), index)

    def _major(self) -> int:
        return int(self.version.split(".")[0])


def find(flavour: Flavour) -> TensorRt:
    """Import the installed TensorRT of this flavour.

    Raises:
        EngineError: it is not installed, or does not load; with the command that installs it.
    """
    tried = []
    for name in _MODULES[flavour]:
        try:
            return TensorRt(importlib.import_module(name), flavour)
        except (ImportError, OSError, FileNotFoundError) as error:
            tried.append(str(error).splitlines()[0])
    raise EngineError(f"{flavour} is not available ({'; '.join(tried)}): {_INSTALL[flavour]}")


@dataclass
class _Log:
    """Forwards TensorRT's messages to our log, and keeps the errors for the one line that the user
    reads."""

    errors: list[str] = field(default_factory=list)

    def write(self, severity: int, message: str) -> None:
        if severity <= 1:
            self.errors.append(message)
        # TensorRT's errors are warnings here: what matters is raised as an EngineError.
        level = (logging.ERROR, logging.ERROR, logging.WARNING, logging.DEBUG, logging.DEBUG)[
            min(severity, 4)
        ]
        _log.log(level if level != logging.ERROR else logging.WARNING, "%s", message)

    def last(self) -> str:
        """The error worth reading: the last that is not the parser's echo of the one before."""
        # ModelImporter repeats each error of the parser without its reason.
        real = [error for error in self.errors if "ModelImporter" not in error] or self.errors
        return real[-1].splitlines()[0] if real else "it gives no reason"


def _logger_class(module: Any) -> Any:
    """Make a logger class. Its base comes from whichever TensorRT is installed."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self, target: _Log) -> None:
            module.ILogger.__init__(self)
            self._target = target

        def log(self, severity: Any, message: str) -> None:
            self._target.write(int(severity), message)

    return Logger


def _monitor(module: Any, progress: Progress) -> Any:
    """Make a monitor that forwards progress; None where TensorRT has no monitors (8.6)."""
    if not hasattr(module, "IProgressMonitor"):
        return None

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            del parent
            self._steps[phase] = steps
            progress(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            progress(phase, step + 1, self._steps.get(phase, step + 1))
            # False would cancel the build.
            return True

        def phase_finish(self, phase: str) -> None:
            steps = self._steps.pop(phase, 0)
            progress(phase, steps, steps)

    return Monitor()


def find_tensorrt(gpu: Gpu) -> TensorRt:
    """Find the installed TensorRT that supports this GPU. For an RTX card TensorRT for RTX comes
    first."""
    flavours: tuple[Flavour, ...] = ("tensorrt-rtx", "tensorrt")
    reasons = []
    for flavour in flavours if gpu.compute_capability not in _NO_RTX else flavours[1:]:
        try:
            return find(flavour)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError("; or ".join(reasons))
