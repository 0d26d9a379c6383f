"""OpenVINO on the CPU: compile, run, and open a folder of exported networks."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.export_folder import Manifest, NetworkFile
from mimicam.engine.backends.networks import ModelInfo, own_array
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.network_spec import NetworkSpec, Shapes
from mimicam.engine.silent_imports import ov
from mimicam.engine.types import Float

Array = npt.NDArray[Any]


@cache
def core() -> ov.Core:
    """The process's one OpenVINO core."""
    return ov.Core()


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledNetwork:
    """A network compiled for the CPU. It runs one inference at a time and keeps nothing from one to
    the next."""

    model: ov.CompiledModel
    inputs: tuple[str, ...]
    """Names of the inputs, in order."""

    @classmethod
    def of(
        cls, model: ov.Model | Path, *, threads: int = 1, precision: str = "f32", name: str = "network"
    ) -> CompiledNetwork:
        """Compile; see `OpenVinoNetwork`.

        Raises:
            EngineError: the file cannot be read or compiled.
        """
        try:
            graph = core().read_model(model) if isinstance(model, Path) else model
            # Compiling may give an input the name of an output that is its copy.
            inputs = tuple(port.get_any_name() for port in graph.inputs)
            _unshare(graph)
            compiled = core().compile_model(
                graph,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": precision,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    # A network that takes all cores is steadier pinned (p95 of frame age: 24
                    # instead of 26 ms). Of those that take fewer, every one would be pinned to the
                    # first cores and share them.
                    "ENABLE_CPU_PINNING": 1 < threads == os.cpu_count(),
                },
            )
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1][:200]
            raise EngineError(
                f"{name} does not load in OpenVINO ({first}); run 'mimicam models verify'"
            ) from error
        return cls(model=compiled, inputs=inputs)


def _unshare(graph: ov.Model) -> None:
    """Give each layer weights of its own where several have the same.

    OpenVINO (2026.4) fuses activations into convolutions only if no other layer has their weights: a
    network that runs one part twice takes 3 ms with this, and 16 without.
    """
    for node in graph.get_ordered_ops():
        # Weights in half precision are widened before layers take them.
        kept = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
        if kept.get_type_name() != "Constant" or not kept.get_element_type().is_real():
            continue
        kind = node.get_output_element_type(0)
        for other in list(node.output(0).get_target_inputs())[1:]:
            if other.get_node().get_type_name() == "Convert":
                continue
            own = ov.opset13.constant(kept.data.astype(kind.to_dtype()), dtype=kind)
            other.replace_source_output(own.output(0))


class OpenVinoNetwork:
    """A compiled network with named inputs, run synchronously on one infer request.

    Not thread-safe: one thread per instance. Output arrays are views that the next call overwrites.
    """

    def __init__(
        self,
        model: ov.Model | Path | CompiledNetwork,
        *,
        threads: int = 1,
        precision: str = "f32",
        name: str = "network",
        outputs: tuple[str, ...] = (),
    ) -> None:
        """Compile for the CPU, unless it is compiled.

        Args:
            model: an OpenVINO model, a file it can read (IR, ONNX, TFLite), or a compiled network,
                to which ``threads`` and ``precision`` do not apply.
            threads: inference threads.
            precision: ``f32`` or ``bf16``; parts the model marks as precise stay in f32.
            name: what errors call it.
            outputs: names of the outputs, in order, for `run_named`.

        Raises:
            EngineError: the file cannot be read or compiled.
        """
        if not isinstance(model, CompiledNetwork):
            model = CompiledNetwork.of(model, threads=threads, precision=precision, name=name)
        self.inputs, compiled = list(model.inputs), model.model
        self._request = compiled.create_infer_request()
        # Read once, not for each frame.
        self._dtypes = [port.get_element_type().to_dtype() for port in compiled.inputs]
        self._given: list[Array | None] = [None] * len(self.inputs)
        self._sources: list[Array | None] = [None] * len(self.inputs)
        self._outputs = len(compiled.outputs)
        self._output_names = outputs
        self._compiled = compiled

    @property
    def input_shapes(self) -> Shapes:
        """Shapes of the inputs by name, in order. All of them must be static."""
        return {
            name: tuple(port.shape) for name, port in zip(self.inputs, self._compiled.inputs, strict=True)
        }

    @property
    def output_shapes(self) -> Shapes:
        """Shapes of the outputs by name, in order. All of them must be static."""
        shapes = (tuple(port.shape) for port in self._compiled.outputs)
        return dict(zip(self._output_names, shapes, strict=True))

    def fits(self, spec: NetworkSpec) -> bool:
        """Whether it has the inputs and outputs of a spec, with their shapes."""
        wanted = [{tensor.name: tensor.shape for tensor in side} for side in (spec.inputs, spec.outputs)]
        try:
            return wanted == [self.input_shapes, self.output_shapes]
        except (RuntimeError, ValueError):  # its shapes are not fixed, or it has other outputs
            return False

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run on the inputs, in the order of ``self.inputs``; views of the outputs in their
        order."""
        self.give(0, *arrays)
        return self.run()

    def run_named(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run on inputs by name; views of the outputs by name.

        Raises:
            ValueError: an input is missing, or one is given that the network does not have.
        """
        if inputs.keys() != set(self.inputs):
            raise ValueError(f"inputs must be {', '.join(self.inputs)}; got {', '.join(inputs)}")
        for index, name in enumerate(self.inputs):
            if inputs[name] is not self._sources[index]:
                self.give(index, inputs[name])
        return dict(zip(self._output_names, self.run(), strict=True))

    def give(self, first: int, *arrays: Array) -> None:
        """Let the inputs from number ``first`` on be these arrays, until others are given. They are
        not copied."""
        for index, array in enumerate(arrays, start=first):
            given = np.ascontiguousarray(array, self._dtypes[index])
            self._request.set_input_tensor(index, ov.Tensor(given, shared_memory=True))
            self._given[index] = given  # keeps the memory alive
            # An array that had to be converted is converted again: its content may have changed.
            self._sources[index] = array if given is array else None

    def run(self) -> list[Array]:
        """Run on what was given; views of the outputs in their order."""
        self._request.infer(share_outputs=True)  # or it copies them, for a result that is not used
        return [self._request.get_output_tensor(i).data for i in range(self._outputs)]


class NetworksInTurn:
    """Opens networks, and lets a new one take over what was compiled for one that is no longer
    used.

    Those in use at the same time have a compiled network each, since it runs one inference at a
    time. Thread-safe.
    """

    def __init__(self) -> None:
        # Appended to by finalizers, which may run inside any statement: no lock may be needed.
        self._free: dict[tuple[Path, int], deque[CompiledNetwork]] = {}

    def open(
        self,
        file: Path,
        *,
        threads: int,
        name: str,
        read: Callable[[Path], ov.Model | Path] = lambda path: path,
    ) -> OpenVinoNetwork:
        """Open a file's network for the caller alone.

        Args:
            file: is not changed while the process runs.
            threads: inference threads.
            name: what errors call it.
            read: reads the file, always in the same way; by default OpenVINO does.

        Raises:
            EngineError: the file cannot be read or compiled.
        """
        free = self._free.setdefault((file, threads), deque())
        try:
            compiled = free.pop()
        except IndexError:
            compiled = CompiledNetwork.of(read(file), threads=threads, name=name)
        network = OpenVinoNetwork(compiled, name=name)
        # Not at exit: the interpreter may have taken OpenVINO down by then.
        weakref.finalize(network, free.append, compiled).atexit = False
        return network


class OpenVinoNetworks:
    """See `engine.backends.networks.Networks`."""

    def __init__(self, networks: Mapping[str, OpenVinoNetwork]) -> None:
        self._networks = networks

    def load(self, array: Float) -> Array:
        """See `engine.backends.networks.Networks.load`."""
        return array

    def fetch(self, value: Array) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.fetch`."""
        return own_array(value)

    def view(self, value: Array) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.view`."""
        return value

    def output_shapes(self, network: str) -> Shapes:
        """See `engine.backends.networks.Networks.output_shapes`."""
        return self._networks[network].output_shapes

    def run(self, network: str, **inputs: Array) -> Mapping[str, Array]:
        """See `engine.backends.networks.Networks.run`."""
        return self._networks[network].run_named(inputs)


def open_export(
    folder: Path, picture_network: str, threads: int | None
) -> tuple[OpenVinoNetworks, ModelInfo]:
    """Open a folder that ``mimicam export`` wrote, and compare each network with PyTorch's outputs
    at the export.

    All of it runs in fp32. A generator in bf16 is off by up to 0.25 (its sampling grids). The codes
    that an encoder reads are summed over the whole latent.

    Args:
        folder: holds a manifest.
        picture_network: one that takes pictures of the model's size.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: a file is missing, has changed, does not compile, or is not the reference.
    """
    manifest = export_folder.read_manifest(folder)
    threads = threads or min(usable_cores(), 8)
    backend = f"openvino f32, {threads} thread{'s' if threads > 1 else ''}"
    info = manifest.info(picture_network, backend)
    networks = {entry.name: _compile(folder, entry, threads) for entry in manifest.networks}
    for entry in manifest.networks:
        _compare(networks[entry.name], folder, entry, manifest)
    return OpenVinoNetworks(networks), info


def _compile(folder: Path, entry: NetworkFile, threads: int) -> OpenVinoNetwork:
    path = export_folder.onnx_path(folder, entry)
    try:
        graph = core().read_model(path)
        graph.reshape({port.name: list(port.shape) for port in entry.inputs})  # one picture at a time
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1][:200]
        raise EngineError(f"{path} does not load in OpenVINO ({last}): export the model again") from error
    outputs = tuple(port.name for port in entry.outputs)
    return OpenVinoNetwork(graph, threads=threads, name=entry.onnx, outputs=outputs)


def _compare(network: OpenVinoNetwork, folder: Path, entry: NetworkFile, manifest: Manifest) -> None:
    inputs, reference = export_folder.read_check(folder, entry)
    apart = export_folder.compare(reference, network.run_named(inputs), manifest.precision)
    export_folder.require(apart, manifest.limit, f"{entry.onnx} in openvino")
