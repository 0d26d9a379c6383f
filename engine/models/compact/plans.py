"""Compact models as TensorRT plans."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.cuda.device import CudaGpu, Gpu
from mimicam.engine.backends.export_folder import Manifest
from mimicam.engine.backends.tensorrt.api import Progress, TensorRt, find_tensorrt
from mimicam.engine.backends.tensorrt.network import describe_backend, is_built, open_network
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Model
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR, read_info
from mimicam.engine.models.compact.frame_graph import GpuCompact
from mimicam.engine.models.compact.model import open_bundle_openvino
from mimicam.engine.models.compact.spec import CompactConfig, encoder_spec, generator_spec
from mimicam.engine.models.hot_swap import HotSwapModel

_SPECS = {spec.name: spec for spec in (encoder_spec(CompactConfig()), generator_spec(CompactConfig()))}
"""Specs by name. Only their names count here: shapes depend on the export's size."""


class TensorRtCompact(GpuCompact):
    """Runs the plans of an exported compact model; see `GpuCompact`."""

    def __init__(
        self,
        folder: Path,
        *,
        gpu: Gpu | None = None,
        api: TensorRt | None = None,
        cache: PlanCache | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open the plans of an export, building them first where there are none.

        Args:
            folder: written by ``mimicam export`` from a compact model.
            gpu: None is the first one.
            api: None takes the installed TensorRT that supports the GPU.
            cache: None is the user's own.
            progress: called while a plan is built.

        Raises:
            EngineError: no GPU, no TensorRT, or no export of a compact model by this version.
        """
        manifest = _read_export(folder)
        gpu = gpu or CudaGpu()
        api, cache = api or find_tensorrt(gpu), cache or PlanCache()
        networks = {
            name: open_network(folder, name, api=api, gpu=gpu, cache=cache, progress=progress)
            for name in _SPECS
        }
        info = manifest.info("encoder", describe_backend(api, manifest, gpu))
        super().__init__(networks, gpu, info)


def start_compact(
    folder: Path, *, gpu: Gpu | None = None, api: TensorRt | None = None, cache: PlanCache | None = None
) -> Model:
    """Open an exported compact model on TensorRT; OpenVINO draws while its plans are built.

    Raises:
        EngineError: no GPU, no TensorRT, or a damaged export. Without another backend of the same
            weights, also a plan whose outputs differ from the reference.
    """
    _read_export(folder)  # an export that cannot run is refused now, not once its plans are built
    gpu = gpu or CudaGpu()
    api, cache = api or find_tensorrt(gpu), cache or PlanCache()
    if is_built(folder, api=api, gpu=gpu, cache=cache) or not _is_bundled(folder):
        return TensorRtCompact(folder, gpu=gpu, api=api, cache=cache)
    waiting = HotSwapModel(
        open_bundle_openvino(),
        lambda progress: TensorRtCompact(folder, gpu=gpu, api=api, cache=cache, progress=progress),
    )
    return cast("Model", waiting)  # its backend changes: to mypy, no attribute


def _read_export(folder: Path) -> Manifest:
    """Read the manifest of a compact export, and compare its tensors' names with the specs."""
    manifest = export_folder.read_manifest(folder)
    if {network.name for network in manifest.networks} != _SPECS.keys():
        raise EngineError(f"{folder} is no export of a compact model: run 'mimicam export' on one")
    for network in manifest.networks:
        spec = _SPECS[network.name]
        names = tuple(t.name for t in network.inputs), tuple(t.name for t in network.outputs)
        if names != (spec.input_names, spec.output_names):
            raise EngineError(f"{folder} was exported by another version of mimicam: export the model again")
    return manifest


def _is_bundled(folder: Path) -> bool:
    """Whether the export has the bundled weights, which OpenVINO can draw with."""
    try:
        return read_info(COMPACT_DIR).sha256 == export_folder.read_manifest(folder).model_sha256
    except EngineError:
        return False
