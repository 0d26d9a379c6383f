"""Networks on one GPU stream, each with memory of its own: TensorRT plans, or modules in PyTorch.

The caller chooses what runs them: plans, or PyTorch as it is (``eager``) or compiled (``compile``).
There is no silent fallback from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Engine = Literal["eager", "compile"]
"""``compile`` is torch.compile. It takes a minute or more for each network the first time."""


def half_info(name: str, sha256: str, size: int, *, engine: Engine, gpu: Gpu) -> ModelInfo:
    """Describe a model of ``size`` pixels in PyTorch, in half precision on a GPU."""
    backend = f"torch fp16 {engine}, CUDA graphs, {gpu.name}"
    return ModelInfo(name=name, sha256=sha256, size=size, backend=backend)


class BoundNetwork(Protocol):
    """A network with memory of its own: ``TensorRtNetwork`` or ``TorchNetwork``."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def enqueue(self) -> None:
        """Queue one run on the current stream. It neither waits nor, once warm, allocates outside a
        graph's memory."""


class TorchNetwork:
    """A network in PyTorch. Its work is queued on the stream that is current: call it inside
    ``Gpu.on_stream``."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        gpu: Gpu,
        *,
        engine: Engine = "eager",
        compiler: str = "inductor",
    ) -> None:
        """Move it to the GPU and run it once.

        Args:
            module: takes the inputs in order; returns a tensor or a flat tuple.
            inputs: examples: shapes, types and memory layouts.
            outputs: names, in order.
            gpu: where it runs.
            engine: see ``Engine``.
            compiler: torch.compile's; ``eager`` traces and compiles nothing, for rehearsals.
        """
        import torch

        device = gpu.empty((1,), torch.float32).device
        self._module: Callable[..., Any] = module.eval()
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

        def first_run() -> None:
            module.to(device)
            self.inputs.update((name, value.to(device)) for name, value in inputs.items())
            found = zip(outputs, self._run(), strict=True)
            self.outputs.update((name, torch.empty_like(value)) for name, value in found)

        if engine == "compile":
            self._module = torch.compile(module, dynamic=False, backend=compiler)
        # Copies and memory on this stream too: nothing orders it after the default one.
        gpu.on_stream(first_run)
        gpu.record_event()()

    def enqueue(self) -> None:
        """See ``BoundNetwork``."""
        # Into tensors with fixed addresses: a captured graph's own results lie in its private pool.
        for own, value in zip(self.outputs.values(), self._run(), strict=True):
            own.copy_(value)

    def _run(self) -> tuple[Tensor, ...]:
        import torch

        with torch.no_grad():
            result = self._module(*self.inputs.values())
        return tuple(result) if isinstance(result, tuple) else (result,)


class InputCache:
    """Tracks the tensors that each network's inputs hold. A portrait's maps are the same tensors
    frame after frame, so they are copied once."""

    def __init__(self, networks: Mapping[str, BoundNetwork], gpu: Gpu) -> None:
        self._networks, self._gpu = networks, gpu
        self._held: dict[tuple[str, str], Tensor] = {}

    def give(self, network: str, values: Mapping[str, Tensor]) -> None:
        """Queue copies of the values that a network's inputs do not hold yet. A network's output is
        always copied."""
        fresh = [(name, value) for name, value in values.items() if self._is_fresh(network, name, value)]
        own = self._networks[network].inputs
        copy_all(self._gpu, [(own[name], value) for name, value in fresh])
        self._held.update({(network, name): value for name, value in fresh})

    def overwritten(self, network: str, *names: str) -> None:
        """Forget what these inputs hold, or all of them: other code has written to them."""
        for name in names or tuple(self._networks[network].inputs):
            self._held.pop((network, name), None)

    def _is_fresh(self, network: str, name: str, value: Tensor) -> bool:
        # An output tensor is reused: the same object may hold another picture than last time.
        is_output = any(value is o for n in self._networks.values() for o in n.outputs.values())
        return is_output or self._held.get((network, name)) is not value


class GpuNetworks:
    """See `engine.backends.networks.Networks`. Each network's run is one captured graph."""

    def __init__(self, networks: Mapping[str, BoundNetwork], gpu: Gpu) -> None:
        """Capture.

        Args:
            networks: by name.
            gpu: whose stream they run on.
        """
        self.networks, self.gpu = networks, gpu
        self.inputs = InputCache(networks, gpu)
        """Shared by all code that runs these networks."""
        inputs = (value for network in networks.values() for value in network.inputs.values())
        # Any map: all maps of a model have one type and layout.
        self._map_like = next(value for value in inputs if value.dim() == 4)
        # Captured one by one: a portrait runs the encoder alone, a frame the others.
        self._start = {name: gpu.capture(network.enqueue) for name, network in networks.items()}

    def load(self, array: Float) -> Tensor:
        """See `engine.backends.networks.Networks.load`. Maps and pictures in the networks' own
        type."""
        import torch

        value = torch.from_numpy(np.ascontiguousarray(array))
        return laid_out(value, self._map_like.dtype).to(self._map_like.device)

    def fetch(self, value: Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.fetch`."""
        import torch

        array: npt.NDArray[Any] = value.to("cpu", torch.float32, copy=True).numpy()
        return array

    def view(self, value: Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.view`."""
        return self.fetch(value)

    def output_shapes(self, network: str) -> Shapes:
        """See `engine.backends.networks.Networks.output_shapes`."""
        return {name: tuple(value.shape) for name, value in self.networks[network].outputs.items()}

    def run(self, network: str, **inputs: Tensor) -> Mapping[str, Tensor]:
        """See `engine.backends.networks.Networks.run`. An input that is already held is not copied
        again."""
        chosen = self.networks[network]
        # Inputs may come from the caller's stream, as tensors that `load` has queued there.
        self.gpu.wait_for_current_stream()
        if inputs.keys() != chosen.inputs.keys():
            raise ValueError(f"{network} takes {', '.join(chosen.inputs)}; got {', '.join(inputs)}")
        self.inputs.give(network, inputs)
        self._start[network]()
        self.gpu.record_event()()
        return chosen.outputs


def prepare_kernels(gpu: Gpu) -> None:
    """Compile the kernels around the networks, before a capture and before the first frame.

    Raises:
        KernelBuildError: CuPy is missing, or a kernel does not compile on this machine.
    """
    import torch

    from mimicam.kernels import _launch

    device = gpu.empty((1,), torch.float32).device
    if device.type == "cuda":
        _launch.prepare(device.index or 0, ("crop_normalize", "edit_codes", "warp_composite", "paste_back"))


def copy_all(gpu: Gpu, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Queue copies of each second tensor into the first."""

    def work() -> None:
        for target, source in pairs:
            target.copy_(source)

    gpu.on_stream(work)


def laid_out(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert pictures and maps to the networks' type, channels last. Vectors stay float32."""
    import torch

    if value.dim() != 4:
        return value
    return value.to(dtype).contiguous(memory_format=torch.channels_last)
