"""The networks of DPE and of DAE-GAN on OpenVINO, from a folder of ONNX files.

All of it stays in fp32: a generator in bf16 is off by up to 0.25 (its sampling grids), and the codes that the encoder
reads are added up over the whole latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.backends import manifest as manifests
from engine.backends.daegan import DaeGanModel
from engine.backends.manifest import Manifest, NetworkFile
from engine.backends.openvino_runtime import Array, Network, core
from engine.backends.published import ModelFacts, PublishedModel
from engine.errors import EngineError
from engine.runtime.cores import usable_cores
from engine.types import Float


class OpenVinoNetworks:
    """See `engine.backends.published.Networks`."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        """Compile all of them, and compare each with what PyTorch gave at the export.

        Raises:
            EngineError: a file is missing, has changed, does not compile, or is not the reference.
        """
        self._types: dict[str, tuple[str, ...]] = {}
        self._networks: dict[str, Network] = {}
        for entry in manifest.networks:
            self._types[entry.name] = tuple(port.dtype for port in entry.inputs)
            self._networks[entry.name] = _compile(folder, entry, threads)
            self._compare(folder, entry, manifest)

    def load(self, array: Float) -> Array:
        """See `engine.backends.published.Networks.load`."""
        return array

    def fetch(self, value: Array) -> npt.NDArray[Any]:
        """See `engine.backends.published.Networks.fetch`."""
        return np.array(value, np.float32)

    def run(self, network: str, *inputs: Array) -> Sequence[Array]:
        """See `engine.backends.published.Networks.run`."""
        typed = (np.asarray(a, dtype) for a, dtype in zip(inputs, self._types[network], strict=True))
        return self._networks[network](*typed)

    def _compare(self, folder: Path, entry: NetworkFile, manifest: Manifest) -> None:
        inputs, reference = manifests.read_check(folder, entry)
        outputs = self.run(entry.name, *inputs.values())
        got = {port.name: value for port, value in zip(entry.outputs, outputs, strict=True)}
        apart = manifests.compare(reference, got, manifest.precision)
        manifests.require(apart, manifest.limit, f"{entry.onnx} in openvino")


def open_openvino(folder: Path, *, threads: int | None = None) -> PublishedModel:
    """The model that was exported to a folder.

    Args:
        folder: written by ``mimicam export``, or by `engine.backends.published_cache.exported`.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: the folder is damaged, or holds no DPE.
    """
    return PublishedModel(*_open(folder, "encoder", threads))


def open_daegan_openvino(folder: Path, *, threads: int | None = None) -> DaeGanModel:
    """The same for a DAE-GAN, from ``mimicam export`` or `engine.backends.daegan_cache.exported`.

    Raises:
        EngineError: the folder is damaged, or holds no DAE-GAN.
    """
    return DaeGanModel(*_open(folder, "face_embedder", threads))


def _open(folder: Path, first: str, threads: int | None) -> tuple[OpenVinoNetworks, ModelFacts]:
    """``first`` names the network that takes the portrait's picture."""
    manifest = manifests.read_manifest(folder)
    threads = threads or min(usable_cores(), 8)
    facts = ModelFacts(
        name=manifest.model,
        sha256=manifest.model_sha256,
        size=manifest.network(first).inputs[0].shape[-1],
        backend=f"openvino f32, {threads} thread{'s' if threads > 1 else ''}",
    )
    return OpenVinoNetworks(folder, manifest, threads), facts


def _compile(folder: Path, entry: NetworkFile, threads: int) -> Network:
    path = manifests.onnx_path(folder, entry)
    try:
        graph = core().read_model(path)
        graph.reshape({port.name: list(port.shape) for port in entry.inputs})  # one picture at a time
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1][:200]
        raise EngineError(f"{path} does not load in OpenVINO ({last}): export the model again") from error
    return Network(graph, threads=threads, name=entry.onnx)
