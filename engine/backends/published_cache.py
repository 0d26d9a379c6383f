"""A published model's ONNX files, made once from its weights and kept in the user's cache.

The folder has the form that ``mimicam export --target onnx`` writes, so one reader serves both. Making it needs
PyTorch; using it afterwards does not.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.backends import manifest as manifests
from engine.backends.manifest import Array, Manifest, NetworkFile, Port
from engine.backends.plan_cache import default_folder
from engine.backends.published import NETWORKS
from engine.backends.published_torch import load_folded
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.models.folded import FoldedDpe

_log = logging.getLogger(__name__)

_FORM = 1
"""Raise it when the folded form changes, so that what older versions made is not used."""


def exported(path: Path, *, cache: Path | None = None) -> Path:
    """The folder of a model's ONNX files, made now where there is none.

    Args:
        path: a file that ``mimicam models import`` wrote.
        cache: parent folder; None is the user's own cache.

    Raises:
        EngineError: it has to be made and PyTorch is missing, or the cache cannot be written.
    """
    sha256 = manifests.sha256_of(path)
    folder = (cache or default_folder().with_name("networks")) / f"dpe-{_FORM}-{sha256[:24]}"
    if (folder / manifests.FILE).is_file():
        return folder
    folded = _load(path)
    _log.warning("preparing %s for OpenVINO, once; this takes up to a minute", path.name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
            _write(folded, Path(part), path.name, sha256)
            _move(Path(part), folder)
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be written ({error.strerror}): free space, or use --backend torch"
        ) from error
    return folder


def _load(path: Path) -> FoldedDpe:
    try:
        return load_folded(path)
    except EngineError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        raise EngineError(
            f"OpenVINO runs {path.name} once it is exported, which needs PyTorch: pip install 'mimicam[torch]',"
            " or give --model the folder that 'mimicam export --target onnx' wrote elsewhere"
        ) from error


def _move(part: Path, folder: Path) -> None:
    """Files into the folder, the manifest last: it is what makes the folder valid."""
    folder.mkdir(exist_ok=True)
    for file in sorted(part.iterdir(), key=lambda file: file.name == manifests.FILE):
        os.replace(file, folder / file.name)


def _write(folded: FoldedDpe, folder: Path, name: str, sha256: str) -> None:
    from engine.models.onnx_form import OPSET, write_onnx

    paths = write_onnx(folded, folder)
    manifest = Manifest(
        model=name,
        model_sha256=sha256,
        precision="fp32",
        opset=OPSET,
        limit=manifests.LIMITS["fp32"],
        networks=tuple(_entry(folded, network, paths[network]) for network in NETWORKS),
    )
    manifests.write_manifest(folder, manifest)


def _entry(folded: FoldedDpe, network: str, path: Path) -> NetworkFile:
    """One network's entry, after its check file was written."""
    inputs, outputs = _example(folded, network)
    check = f"{network}.check.npz"
    manifests.write_check(path.with_name(check), inputs, outputs)
    return NetworkFile(
        name=network,
        onnx=path.name,
        sha256=manifests.sha256_of(path),
        check=check,
        inputs=_ports(inputs),
        outputs=_ports(outputs),
    )


def _example(folded: FoldedDpe, network: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs as the network meets them, a soft picture or what the encoder makes of one, and its outputs."""
    import torch

    from engine.models.onnx_form import input_names, output_names

    size = folded.config.size
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    picture = np.stack([np.sin(5 * x + y), np.cos(4 * y - x), np.sin(3 * x * y + 1)])[None].astype(np.float32)
    with torch.inference_mode():
        image = torch.from_numpy(picture)
        latent, expression, pose, *maps = folded.encoder(image)
        code = expression if network == "expression_generator" else pose
        values = (image,) if network.endswith("encoder") else (latent + code, *maps)
        result = folded.get_submodule(network)(*values)
    results = (result,) if isinstance(result, torch.Tensor) else result
    names = input_names(folded.config, network), output_names(folded.config, network)
    named = [zip(n, v, strict=True) for n, v in zip(names, (values, results), strict=True)]
    inputs, outputs = ({name: value.numpy() for name, value in pairs} for pairs in named)
    return inputs, outputs


def _ports(values: dict[str, Array]) -> tuple[Port, ...]:
    return tuple(Port(name=name, shape=value.shape, dtype=str(value.dtype)) for name, value in values.items())
