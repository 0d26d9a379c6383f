"""The published networks on one GPU stream, each with memory of its own: TensorRT plans, or PyTorch in half precision.

What runs them is chosen: ``eager`` and ``compile`` (PyTorch), or plans; and so is whether a network's work is captured
as a CUDA graph. Nothing here falls from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.backends import manifest as manifests
from engine.backends.cuda_gpu import CudaGpu, Gpu
from engine.backends.live import FrameDrawer
from engine.backends.networks import ModelInfo
from engine.backends.plan_cache import PlanCache
from engine.backends.published import NETWORKS, PublishedModel
from engine.backends.published_torch import load_folded
from engine.backends.tensorrt import open_network
from engine.backends.tensorrt_api import Progress, TensorRt
from engine.files import sha256_of
from engine.types import Float

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from engine.models.folded import FoldedDpe
    from engine.models.mixed_parts import Form

Engine = Literal["eager", "compile"]
"""``compile`` is torch.compile, which takes a minute or more a network the first time."""

_ALGORITHMS = 4
"""That cuDNN times of each convolution; it lists its guess of the best ones first."""


class FixedNetwork(Protocol):
    """A network with memory of its own: ``TensorRtNetwork`` or ``TorchNetwork``."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def enqueue(self) -> None:
        """Queue one run on the current stream. Neither waits nor, once warm, allocates outside a graph's memory."""

    def share(self, name: str, tensor: Tensor) -> None:
        """Read an input from another network's output, before any capture."""


class TorchNetwork:
    """A network in PyTorch. Its work is queued on the stream that is current: call it inside ``Gpu.queue``."""

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
        gpu.queue(first_run)  # copies and memory too: nothing orders this stream after the default one
        gpu.mark()()

    def enqueue(self) -> None:
        """See ``FixedNetwork``."""
        for own, value in zip(self.outputs.values(), self._run(), strict=True):
            own.copy_(value)

    def share(self, name: str, tensor: Tensor) -> None:
        """See ``FixedNetwork``."""
        own = self.inputs[name]
        if tensor.shape != own.shape or tensor.dtype != own.dtype:
            raise ValueError(f"input '{name}' is {own.dtype} {tuple(own.shape)}, got {tensor.dtype}")
        self.inputs[name] = tensor

    def _run(self) -> tuple[Tensor, ...]:
        import torch

        with torch.no_grad():
            result = self._module(*self.inputs.values())
        return tuple(result) if isinstance(result, tuple) else (result,)


def torch_networks(
    folded: FoldedDpe,
    form: Form,
    gpu: Gpu,
    *,
    engine: Engine = "eager",
    batch: int = 1,
    compiler: str = "inductor",
) -> dict[str, FixedNetwork]:
    """All four networks in one form, for so many pictures at once. Maps lie channels last, as tensor cores want them."""
    import torch

    from engine.models.mixed import MixedDpe
    from engine.models.onnx_form import dpe_specs, example_inputs

    # Sizes never change: the first runs choose the fastest of a few algorithms. The choice is kept by each thread, and the
    # thread that draws makes it anew: with all algorithms that took seconds.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, _ALGORITHMS
    model = MixedDpe(folded, form)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks: dict[str, FixedNetwork] = {}
    for name, spec in dpe_specs(folded.config).items():
        examples = example_inputs(spec, batch)
        inputs = {each: _laid_out(value, form.dtype) for each, value in examples.items()}
        networks[name] = TorchNetwork(
            model.get_submodule(name), inputs, spec.output_names, gpu, engine=engine, compiler=compiler
        )
    return networks


def plan_networks(
    folder: Path,
    api: TensorRt,
    gpu: Gpu,
    cache: PlanCache,
    progress: Progress | None = None,
    *,
    batch: int = 1,
) -> dict[str, FixedNetwork]:
    """All networks of an export, from their plans, for so many pictures at once.

    Raises:
        EngineError: see `engine.backends.tensorrt.open_network`.
    """
    return {
        name: open_network(folder, name, api=api, gpu=gpu, cache=cache, progress=progress, batch=batch)
        for name in NETWORKS
    }


class HeldInputs:
    """What each network's inputs hold: a portrait's maps are the same tensors frame after frame, and are copied once."""

    def __init__(self, networks: Mapping[str, FixedNetwork], gpu: Gpu) -> None:
        self._networks, self._gpu = networks, gpu
        self._held: dict[tuple[str, str], Tensor] = {}

    def give(self, network: str, values: Mapping[str, Tensor]) -> None:
        """Queue copies of what a network's inputs do not hold yet. A network's output is always copied."""
        fresh = [(name, value) for name, value in values.items() if self._is_fresh(network, name, value)]
        own = self._networks[network].inputs
        copy_all(self._gpu, [(own[name], value) for name, value in fresh])
        self._held.update({(network, name): value for name, value in fresh})

    def overwritten(self, network: str, *names: str) -> None:
        """Somebody else has written to these inputs, or to all of them."""
        for name in names or tuple(self._networks[network].inputs):
            self._held.pop((network, name), None)

    def _is_fresh(self, network: str, name: str, value: Tensor) -> bool:
        is_output = any(value is o for n in self._networks.values() for o in n.outputs.values())
        return is_output or self._held.get((network, name)) is not value


class GpuNetworks:
    """See `engine.backends.networks.Networks`: each network's run is one captured graph, or is queued as it is."""

    def __init__(self, networks: Mapping[str, FixedNetwork], gpu: Gpu, *, graphs: bool = True) -> None:
        """Capture.

        Args:
            networks: by name.
            gpu: whose stream they run on.
            graphs: False queues every kernel anew, as PyTorch does by itself.
        """
        self.networks, self.gpu, self.graphs = networks, gpu, graphs
        self.inputs = HeldInputs(networks, gpu)
        """What the networks hold; whoever else runs them keeps account here."""
        self._start = {name: self._starter(network, graphs) for name, network in networks.items()}

    def load(self, array: Float) -> Tensor:
        """See `engine.backends.networks.Networks.load`. Maps and pictures in the networks' own type."""
        import torch

        image = self.networks["motion_encoder"].inputs["image"]
        value = torch.from_numpy(np.ascontiguousarray(array))
        return _laid_out(value, image.dtype).to(image.device)

    def fetch(self, value: Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.fetch`."""
        import torch

        array: npt.NDArray[Any] = value.to("cpu", torch.float32, copy=True).numpy()
        return array

    def view(self, value: Tensor) -> npt.NDArray[Any]:
        """See `engine.backends.networks.Networks.view`."""
        return self.fetch(value)

    def run(self, network: str, **inputs: Tensor) -> Mapping[str, Tensor]:
        """See `engine.backends.networks.Networks.run`. An input that is the last run's own is not copied again."""
        chosen = self.networks[network]
        self.gpu.follow()
        if inputs.keys() != chosen.inputs.keys():
            raise ValueError(f"{network} takes {', '.join(chosen.inputs)}; got {', '.join(inputs)}")
        self.inputs.give(network, inputs)
        self._start[network]()
        self.gpu.mark()()
        return chosen.outputs

    def _starter(self, network: FixedNetwork, graphs: bool) -> Callable[[], None]:
        if graphs:
            return self.gpu.capture(network.enqueue)
        return lambda: self.gpu.queue(network.enqueue)


class GpuPublishedModel(PublishedModel):
    """See `engine.backends.model.PictureModel` and `engine.backends.live.FrameModel`."""

    def __init__(self, networks: GpuNetworks, info: ModelInfo) -> None:
        """``networks`` are of the weights that ``info`` names."""
        from engine.backends.frame_drawer import ResidentPortraits

        super().__init__(networks, info)
        self._gpu_networks = networks
        self._portraits = ResidentPortraits(networks.networks["pose_generator"], networks.gpu)

    def open_frames(self) -> FrameDrawer | None:
        """See `engine.backends.live.FrameModel`.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        from engine.backends.frame_drawer import GpuFrames

        own = self._gpu_networks
        prepare_kernels(own.gpu)
        return GpuFrames(own.networks, own.gpu, own.inputs, self._portraits, graph=own.graphs)


def open_plans(
    folder: Path,
    *,
    gpu: Gpu | None = None,
    api: TensorRt | None = None,
    cache: PlanCache | None = None,
    progress: Progress | None = None,
) -> PublishedModel:
    """An exported published model on TensorRT, its plans built first where there are none.

    Raises:
        EngineError: no GPU, no TensorRT, a damaged export, or a plan that is not the reference.
    """
    from engine.backends.tensorrt_compact import installed

    manifest = manifests.read_manifest(folder)
    gpu = gpu or CudaGpu()
    api = api or installed(gpu)
    networks = plan_networks(folder, api, gpu, cache or PlanCache(), progress)
    info = ModelInfo(
        name=manifest.model,
        sha256=manifest.model_sha256,
        size=int(networks["encoder"].inputs["image"].shape[-1]),
        backend=f"{api.name} {manifest.precision}, {gpu.name}",
    )
    return GpuPublishedModel(GpuNetworks(networks, gpu), info)


def open_half(
    path: Path, *, engine: Engine = "eager", graphs: bool = True, gpu: Gpu | None = None
) -> PublishedModel:
    """Published weights in PyTorch on the GPU, in half precision with our kernels.

    Args:
        path: a file that ``mimicam models import`` wrote.
        engine: see ``Engine``.
        graphs: see ``GpuNetworks``.
        gpu: None is the first one.

    Raises:
        EngineError: no GPU, or no such model.
    """
    from engine.models.mixed_parts import Form

    folded, gpu = load_folded(path), gpu or CudaGpu()
    form = Form(fused=engine == "compile")
    networks = torch_networks(folded, form, gpu, engine=engine)
    info = ModelInfo(
        name=path.name,
        sha256=sha256_of(path),
        size=folded.config.size,
        backend=f"torch fp16 {engine}{', CUDA graphs' if graphs else ''}, {gpu.name}",
    )
    return GpuPublishedModel(GpuNetworks(networks, gpu, graphs=graphs), info)


def prepare_kernels(gpu: Gpu) -> None:
    """Compile what stands around the networks, before anything is captured or shown.

    Raises:
        KernelBuildError: CuPy is missing, or a kernel does not compile on this machine.
    """
    import torch

    from kernels import _launch

    device = gpu.empty((1,), torch.float32).device
    if device.type == "cuda":
        _launch.prepare(device.index or 0, ("crop_normalize", "edit_codes", "layers", "paste_back"))


def copy_all(gpu: Gpu, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Queue copies of each second tensor into the first."""

    def work() -> None:
        for target, source in pairs:
            target.copy_(source)

    gpu.queue(work)


def _laid_out(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Pictures and maps in the networks' type, channels last; vectors stay float32."""
    import torch

    if value.dim() != 4:
        return value
    return value.to(dtype).contiguous(memory_format=torch.channels_last)
