"""Networks on OpenVINO, from a folder of ONNX files or from IR files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mimicam.engine.backends import manifest as manifests
from mimicam.engine.backends.manifest import Manifest, NetworkFile
from mimicam.engine.backends.networks import ModelInfo, own_array
from mimicam.engine.backends.openvino_runtime import Array, Network, core
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.types import Float


class OpenVinoNetworks:
    """See `engine.backends.networks.Networks`."""

    def __init__(self, networks: Mapping[str, Network]) -> None:
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

    def run(self, network: str, **inputs: Array) -> Mapping[str, Array]:
        """See `engine.backends.networks.Networks.run`."""
        return self._networks[network].run_named(inputs)


def open_export(
    folder: Path, portrait_network: str, threads: int | None
) -> tuple[OpenVinoNetworks, ModelInfo]:
    """The networks of a folder that ``mimicam export`` wrote, each compared with what PyTorch gave at the export.

    All of it stays in fp32: a generator in bf16 is off by up to 0.25 (its sampling grids), and the codes that an encoder
    reads are added up over the whole latent.

    Args:
        folder: holds a manifest.
        portrait_network: which one takes the portrait's picture.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: a file is missing, has changed, does not compile, or is not the reference.
    """
    manifest = manifests.read_manifest(folder)
    threads = threads or min(usable_cores(), 8)
    info = ModelInfo(
        name=manifest.model,
        sha256=manifest.model_sha256,
        size=manifest.network(portrait_network).inputs[0].shape[-1],
        backend=f"openvino f32, {threads} thread{'s' if threads > 1 else ''}",
    )
    networks = {entry.name: _compile(folder, entry, threads) for entry in manifest.networks}
    for entry in manifest.networks:
        _compare(networks[entry.name], folder, entry, manifest)
    return OpenVinoNetworks(networks), info


def _compile(folder: Path, entry: NetworkFile, threads: int) -> Network:
    path = manifests.onnx_path(folder, entry)
    try:
        graph = core().read_model(path)
        graph.reshape({port.name: list(port.shape) for port in entry.inputs})  # one picture at a time
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1][:200]
        raise EngineError(f"{path} does not load in OpenVINO ({last}): export the model again") from error
    outputs = tuple(port.name for port in entry.outputs)
    return Network(graph, threads=threads, name=entry.onnx, outputs=outputs)


def _compare(network: Network, folder: Path, entry: NetworkFile, manifest: Manifest) -> None:
    inputs, reference = manifests.read_check(folder, entry)
    apart = manifests.compare(reference, network.run_named(inputs), manifest.precision)
    manifests.require(apart, manifest.limit, f"{entry.onnx} in openvino")
