"""Networks as TensorRT plans on one GPU stream. Importing this needs neither TensorRT nor torch."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.export_folder import Array, Manifest, NetworkFile
from mimicam.engine.backends.tensorrt.api import BuildRequest, PlanNotLoaded, Progress, TensorRt
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache, PlanKey, PlanRefused, write_private
from mimicam.engine.errors import EngineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_log = logging.getLogger(__name__)


def describe_backend(api: TensorRt, manifest: Manifest, gpu: Gpu) -> str:
    """Name what runs an export, for people."""
    return f"{api.name} {manifest.precision}, {gpu.name}"


class TensorRtNetwork:
    """A plan with its memory: fill ``inputs``, ``enqueue``, read ``outputs``. One thread, one
    stream.

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
            network: names the tensors, in order, where the plan's own names are another's
                (torch-tensorrt's).

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
            self._add_tensor(name)

    def enqueue(self) -> None:
        """Queue one run. Neither waits nor allocates.

        Raises:
            EngineError: TensorRT refuses to start.
        """
        if not self._context.execute_async_v3(self._gpu.stream):
            raise EngineError("TensorRT did not start a network: restart mimicam, or choose another backend")

    def run(self, inputs: export_folder.Arrays) -> dict[str, Array]:
        """Copy in, run once, wait, copy out. For checks, not for frames."""
        import torch

        def work() -> None:
            for name, value in inputs.items():
                self.inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))
            self.enqueue()

        self._gpu.on_stream(work)
        self._gpu.record_event()()
        return {name: value.cpu().numpy() for name, value in self.outputs.items()}

    def warm_up(self) -> None:
        """Run once on the inputs' present values, and wait. TensorRT for RTX compiles its kernels
        then."""
        self._gpu.on_stream(self.enqueue)
        self._gpu.record_event()()

    def _mode(self, module: Any, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == module.TensorIOMode.INPUT)

    def _own_names(self, names: list[str], network: NetworkFile | None) -> dict[str, str]:
        """Map each tensor's name to the plan's own: the same, or by order."""
        # Both in the plan's order, which torch-tensorrt keeps although it changes the names.
        inputs, outputs = ([n for n in names if self._is_input[n] is side] for side in (True, False))
        if network is None:
            return {name: name for name in names}
        wanted = [port.name for port in (*network.inputs, *network.outputs)]
        # torch-tensorrt names tensors by itself and keeps their order.
        if set(wanted) == set(names):
            return {name: name for name in names}
        if (len(inputs), len(outputs)) != (len(network.inputs), len(network.outputs)):
            raise EngineError(
                f"the plan of {network.name} has other inputs and outputs: export the model again"
            )
        return dict(zip(wanted, inputs + outputs, strict=True))

    def _add_tensor(self, name: str) -> None:
        is_input = self._is_input[name]
        shape = tuple(self._engine.get_tensor_shape(name))
        # A dynamic batch: plans are built with one shape, which is the profile's optimum (index 1).
        if is_input and -1 in shape:
            shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[1])
        if is_input:
            self._context.set_input_shape(name, shape)
        else:
            # Known once the inputs' shapes are set.
            shape = tuple(self._context.get_tensor_shape(name))
        tensor = self._gpu.empty(shape, _dtype(self._engine.get_tensor_dtype(name)))
        shown = next(shown for shown, own in self._own.items() if own == name)
        (self.inputs if is_input else self.outputs)[shown] = tensor
        # Once and for all: a captured graph replays with these addresses.
        self._context.set_tensor_address(name, tensor.data_ptr())


def open_network(
    folder: Path,
    name: str,
    *,
    api: TensorRt,
    gpu: Gpu,
    cache: PlanCache,
    progress: Progress | None = None,
    batch: int = 1,
) -> TensorRtNetwork:
    """Open a network of an exported model: from its stored plan, or from a new one that was
    compared with PyTorch.

    A build takes seconds with TensorRT for RTX and minutes with TensorRT. Run it in a thread of its
    own while another backend draws. ``batch``: pictures at once; only files with a dynamic batch
    take more than one.

    Raises:
        EngineError: the export is damaged, the plan does not build, or it is not the reference.
    """
    manifest = export_folder.read_manifest(folder)
    network = batched(manifest.network(name), batch)
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
        plan, kernels = cache.get_or_build(key, build, verify), cache.read(cache.runtime_cache(key))
        found = TensorRtNetwork(api, plan, gpu, kernels, network)
        found.warm_up()
        # RTX has compiled its kernels in the warm-up; stored, the next start skips that.
        if (compiled := found.runtime_cache()) and compiled != kernels:
            write_private(cache.runtime_cache(key), compiled)
        return found

    try:
        return opened()
    except PlanNotLoaded as refusal:
        # Once only: a fresh plan that is refused too is an error.
        _log.info("rebuilding the plan of %s: %s", name, refusal)
        cache.evict(key)
        return opened()


def is_built(folder: Path, *, api: TensorRt, gpu: Gpu, cache: PlanCache) -> bool:
    """Check whether every network of an export has a stored plan for this GPU, so that opening is
    fast.

    Raises:
        EngineError: the export is damaged.
    """
    manifest = export_folder.read_manifest(folder)
    try:
        for network in manifest.networks:
            cache.load(plan_key(manifest, network, api, gpu))
    except PlanRefused:
        return False
    return True


def store_verified(
    folder: Path, name: str, plan: bytes, *, api: TensorRt, gpu: Gpu, cache: PlanCache
) -> None:
    """Compare a plan that other code built with PyTorch, and store it where ``open_network`` finds
    it.

    Raises:
        EngineError: it is not the reference; then nothing is stored.
    """
    manifest = export_folder.read_manifest(folder)
    network = manifest.network(name)
    _verify(folder, manifest, network, plan, api, gpu)
    cache.store(plan_key(manifest, network, api, gpu), plan)


def _verify(
    folder: Path, manifest: Manifest, network: NetworkFile, plan: bytes, api: TensorRt, gpu: Gpu
) -> None:
    inputs, reference = export_folder.read_check(folder, network)
    batch = network.inputs[0].shape[0]
    got = TensorRtNetwork(api, plan, gpu, network=network).run(
        {name: np.repeat(value, batch, axis=0) for name, value in inputs.items()}
    )
    # First and last picture: a wrong stride between pictures shows in the last.
    for index in {0, batch - 1}:
        own = {name: value[index : index + 1] for name, value in got.items()}
        apart = export_folder.compare(reference, own, manifest.precision)
        export_folder.require(apart, manifest.limit, f"the plan of {network.name}")


def batched(network: NetworkFile, batch: int) -> NetworkFile:
    """Return a network's entry for ``batch`` pictures at once."""
    if batch == 1:
        return network
    inputs, outputs = (
        tuple(replace(port, shape=(batch, *port.shape[1:])) for port in ports)
        for ports in (network.inputs, network.outputs)
    )
    return replace(network, inputs=inputs, outputs=outputs)


def build_request(
    folder: Path, manifest: Manifest, network: NetworkFile, compute_capabilities: tuple[str, ...] = ()
) -> BuildRequest:
    """Describe a build for ``TensorRt.build``.

    Raises:
        EngineError: the ONNX file is missing or has changed, or its int8 form is the one for CPUs.
    """
    if manifest.activations == "unsigned":
        raise EngineError(
            f"the int8 files in {folder} are for CPUs: export again with --target tensorrt or tensorrt-rtx"
        )
    return BuildRequest(
        onnx=export_folder.onnx_path(folder, network),
        shapes={port.name: port.shape for port in network.inputs},
        half=manifest.precision.startswith("fp16"),
        int8=manifest.precision == "int8",
        compute_capabilities=compute_capabilities,
    )


def plan_key(manifest: Manifest, network: NetworkFile, api: TensorRt, gpu: Gpu) -> PlanKey:
    """List everything that a network's plan on this GPU depends on."""
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


def _dtype(dtype: Any) -> torch.dtype:
    import torch

    name = str(dtype).rsplit(".", 1)[-1]
    known = {"FLOAT": torch.float32, "HALF": torch.float16, "INT32": torch.int32, "UINT8": torch.uint8}
    if name not in known:
        raise EngineError(
            f"a plan wants {name} values, which mimicam does not handle: export the model again"
        )
    return known[name]
