"""``mimicam export``: write a model as ONNX files, and build plans for a GPU from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress as Bar

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda import device as cuda_device
from mimicam.engine.backends.export_folder import Manifest, NetworkFile
from mimicam.engine.backends.tensorrt import network as tensorrt
from mimicam.engine.backends.tensorrt.api import TensorRt, find
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache, write_private
from mimicam.engine.errors import EngineError

_OPSETS = (17, 20)
_THRESHOLD = 1e-3
"""Copy of ``export.sensitivity.THRESHOLD``: that module imports PyTorch, which --help does not
need."""
_FRAMES = 2
"""Number of frames of the bundled clip that layers are measured on, unless --sensitivity is given.

Two take a minute or two for the published networks on two cores."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a model's networks as ONNX, compare them with PyTorch, and build plans for a GPU from
    them."""

    model: str
    """A bundled model by its name, a folder of 'models bundle', a .safetensors of 'models import',
    'train name-branches' or 'train daegan', a checkpoint.pt of 'train compact', or
    random:PRESET."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write."""
    target: Literal["onnx", "tensorrt", "tensorrt-rtx", "torch-tensorrt"] = "onnx"
    """onnx runs anywhere. The others also build plans; torch-tensorrt puts our kernel into them."""
    precision: Literal["fp32", "fp16", "fp16-turing", "int8"] = "fp32"
    """fp16 keeps sampling grids and modulation in fp32. fp16-turing runs on RTX 20 cards and is
    slightly less exact."""
    sensitivity: float | None = None
    """With fp16: largest relative error of a layer, measured on the bundled clip; worse layers stay
    in fp32. By default 0.001 for trained weights; 0 measures nothing."""
    warp: Literal["gridsample", "plugin"] = "gridsample"
    """How generators sample: gridsample runs everywhere; plugin is our kernel as a TensorRT
    plug-in."""
    opset: int = 20
    """ONNX operator set; TensorRT 8.6 needs 17."""
    limit: float | None = None
    """Largest accepted error against PyTorch, relative to the largest value; the default depends on
    the precision."""
    compute_capability: tuple[str, ...] = ()
    """GPUs that tensorrt-rtx builds for where there is none, such as 8.6 8.9 12.0."""
    gpu: int = 0
    """Number of the GPU that plans are built for."""

    def __post_init__(self) -> None:
        if self.opset not in _OPSETS:
            raise EngineError(f"--opset must be one of {_OPSETS}, got {self.opset}")
        if self.limit is not None and not 0 < self.limit < 1:
            raise EngineError(f"--limit must lie between 0 and 1, got {self.limit}")
        if self.sensitivity is not None and (
            not self.sensitivity >= 0 or not self.precision.startswith("fp16")
        ):
            raise EngineError("--sensitivity must not be negative, and goes with --precision fp16")
        if self.sensitivity and self.target == "torch-tensorrt":
            raise EngineError(
                "--sensitivity keeps layers of ONNX files: use --target tensorrt or tensorrt-rtx"
            )
        if self.precision == "int8" and self.target == "torch-tensorrt":
            raise EngineError("int8 is built from ONNX: use --target tensorrt or tensorrt-rtx")
        if self.warp == "plugin" and self.target == "tensorrt-rtx":
            raise EngineError(
                "TensorRT for RTX takes no plug-ins: leave out --warp, or use --target tensorrt"
            )
        if self.compute_capability and self.target != "tensorrt-rtx":
            raise EngineError("--compute-capability goes with --target tensorrt-rtx only")

    @property
    def threshold(self) -> float | None:
        """Return the error that a layer may have in fp16; None measures nothing.

        Random weights are not measured by default: their errors do not predict those of trained
        weights.
        """
        trained = not self.model.startswith("random:") and self.target != "torch-tensorrt"
        default = _THRESHOLD if trained and self.precision.startswith("fp16") else None
        return default if self.sensitivity is None else self.sensitivity or None

    def run(self) -> int:
        """Export; return 0 when every file and every plan agrees with PyTorch."""
        console = Console(stderr=True)
        if self.target == "torch-tensorrt":
            return self._build_with_torch(console)
        # Before minutes of exporting: a TensorRT that is missing must show at once.
        api = None if self.target == "onnx" else find(self.target)
        manifest = _write(self, console)
        if api is None:
            return 0
        # With --compute-capability the plans are for other GPUs, which cannot run them here.
        if _has_gpu() and not self.compute_capability:
            return self._build_checked(manifest, api, console)
        return self._build_unchecked(manifest, api, console)

    def _build_checked(self, manifest: Manifest, api: TensorRt, console: Console) -> int:
        """Build plans for this machine's GPU, compare each with PyTorch, and keep them in the
        user's plan cache."""
        gpu, cache = cuda_device.CudaGpu(self.gpu), PlanCache()
        for network in manifest.networks:
            with Bar(console=console, transient=True) as bar:
                advance = partial(_advance, bar, {})
                tensorrt.open_network(self.out, network.name, api=api, gpu=gpu, cache=cache, progress=advance)
            console.print(f"{network.name}: plan agrees with PyTorch on {gpu.name}, kept in {cache.folder}")
        return 0

    def _build_with_torch(self, console: Console) -> int:
        """Build plans with torch-tensorrt, compare them likewise, and keep them in the same
        cache."""
        from mimicam.export import torch_tensorrt_plans as plans
        from mimicam.export.networks import load_networks

        package, api, gpu, cache = plans.find(), find("tensorrt"), cuda_device.CudaGpu(self.gpu), PlanCache()
        # Its plans hold our kernel; the files to compare with must sample alike.
        networks = load_networks(self.model)
        warp: Literal["gridsample", "plugin"] = "plugin" if any(n.warps for n in networks) else "gridsample"
        _write(replace(self, warp=warp), console)
        half = self.precision != "fp32"
        for network in networks:
            plan = plans.build(network, package, api, gpu.compute_capability, half=half)
            tensorrt.store_verified(self.out, network.name, plan, api=api, gpu=gpu, cache=cache)
            console.print(f"{network.name}: plan agrees with PyTorch on {gpu.name}, kept in {cache.folder}")
        return 0

    def _build_unchecked(self, manifest: Manifest, api: TensorRt, console: Console) -> int:
        """Build plans without a GPU, to show that the networks build.

        They were never run, so mimicam does not load them.
        """
        if api.flavour != "tensorrt-rtx":
            raise EngineError(
                "tensorrt builds on the GPU it builds for, and there is none here: use tensorrt-rtx"
            )
        for network in manifest.networks:
            plan = self._build_one(manifest, network, api)
            write_private(self.out / f"{network.name}.plan", plan)
            console.print(
                f"{network.name}: plan of {len(plan) / 1e6:.1f} MB builds with {api.name}; never run"
            )
        return 0

    def _build_one(self, manifest: Manifest, network: NetworkFile, api: TensorRt) -> bytes:
        request = tensorrt.build_request(self.out, manifest, network, self.compute_capability)
        return api.build(request).plan


def _write(options: Export, console: Console) -> Manifest:
    try:
        from mimicam.export.bundle import BundleOptions, write_bundle
    except ImportError as error:
        raise EngineError(f"export needs {error.name}: pip install 'mimicam[train]'") from error
    bundle = BundleOptions(
        precision=options.precision,
        target=options.target,
        warp=options.warp,
        sensitivity=options.threshold,
        frames=_FRAMES if options.sensitivity is None else BundleOptions.frames,
        opset=options.opset,
        limit=options.limit,
    )
    manifest = write_bundle(options.model, options.out, bundle, console.print)
    console.print(f"wrote {options.out / export_folder.FILE}")
    return manifest


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _advance(bar: Bar, tasks: dict[str, object], phase: str, done: int, total: int) -> None:
    # TensorRT names its phases only as they begin.
    if phase not in tasks:
        tasks[phase] = bar.add_task(phase, total=total)
    bar.update(tasks[phase], completed=done)  # type: ignore[arg-type]
