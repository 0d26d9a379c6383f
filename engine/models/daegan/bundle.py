"""Bundles of DAE-GAN: their files, and the networks in OpenVINO. Nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models import bundle_file
from mimicam.engine.models.daegan.config import AnyConfig, config_of
from mimicam.engine.models.daegan.model import NETWORKS, DaeGanModel
from mimicam.engine.models.daegan.spec import daegan_specs

DAEGAN_DIR = bundle_file.SHIPPED / "daegan"
"""Bundle that comes with mimicam."""
ONNX_FILES = tuple(f"{name}.onnx" for name in NETWORKS)
"""Networks with constants in half precision, which are computed with in single precision."""
_MOST_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights for PyTorch: a file of their own, or those of a bundle."""

    file: Path
    name: str

    @classmethod
    def of(cls, path: Path) -> Weights:
        """Find the weights of a file, or of a bundle's folder.

        Raises:
            EngineError: a bundle's header is missing or damaged.
        """
        if path.is_dir():
            return cls(file=path / bundle_file.WEIGHTS, name=read_info(path).name)
        return cls(file=path, name=path.name)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file; portraits carry it."""
        return sha256_of(self.file)


def read_info(folder: Path) -> bundle_file.BundleInfo[AnyConfig]:
    """Read and check ``model.json``.

    Raises:
        EngineError: it is missing or damaged.
    """
    return bundle_file.read_bundle(folder, config_of)


def open_bundle_openvino(folder: Path, *, threads: int | None = None) -> DaeGanModel:
    """Open a bundle on OpenVINO, in fp32 as `engine.backends.openvino.open_export` does.

    Args:
        folder: written by ``mimicam models bundle``.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: the folder is not complete, or does not load.
    """
    from mimicam.engine.backends.openvino import OpenVinoNetwork, OpenVinoNetworks

    bundle = read_info(folder)
    missing = [name for name in ONNX_FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"{folder} lacks {missing[0]}: reinstall mimicam, or pass --model with a bundle")
    threads = threads or min(usable_cores(), _MOST_THREADS)
    specs = daegan_specs(bundle.config)
    networks = {
        name: OpenVinoNetwork(
            folder / f"{name}.onnx", threads=threads, name=f"{name}.onnx", outputs=spec.output_names
        )
        for name, spec in specs.items()
    }
    if not all(networks[name].fits(spec) for name, spec in specs.items()):
        raise EngineError(f"{folder} was made by another version of mimicam: make the bundle again")
    backend = f"openvino f32, {threads} thread{'s' if threads > 1 else ''}"
    info = ModelInfo(name=bundle.name, sha256=bundle.sha256, size=bundle.size, backend=backend)
    return DaeGanModel(OpenVinoNetworks(networks), info)
