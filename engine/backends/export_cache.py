"""ONNX files that are made once from a model's weights and kept in the user's cache.

A folder has the form that ``mimicam export --target onnx`` writes, so one reader serves both.
Making it needs PyTorch; using it afterwards does not.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.export_folder import Array, Manifest, NetworkFile
from mimicam.engine.backends.tensorrt.plan_cache import default_folder
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of, write_atomically
from mimicam.engine.network_spec import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

_log = logging.getLogger(__name__)
T = TypeVar("T")
OPSET = 17
"""ONNX opset: the least that TensorRT 8.6 reads. 20 brings GridSample's present form."""


def cached(path: Path, kind: str, make: Callable[[Path, str], None], *, cache: Path | None = None) -> Path:
    """Return the folder of a model's ONNX files, made now where there is none.

    Args:
        path: the weights.
        kind: begins the folder's name; holds a number that is raised when the exported form
            changes.
        make: fills an empty folder, given that and the weights' hash. It may raise EngineError
            before it writes.
        cache: parent folder; None is the user's own cache.

    Raises:
        EngineError: ``make`` failed, or the cache cannot be written.
    """
    sha256 = sha256_of(path)
    # The name holds the weights' hash: other weights under the same path get a folder of their own.
    folder = (cache or default_folder().with_name("networks")) / f"{kind}-{sha256[:24]}"
    if (folder / export_folder.FILE).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the final folder, hence on its file system: files can be moved by renaming.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
            make(Path(part), sha256)
            _move(Path(part), folder)
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be written ({error.strerror}): free space, or use --backend torch"
        ) from error
    return folder


def load_for_export(path: Path, load: Callable[[Path], T]) -> T:
    """Load weights that are about to be exported, and log that it takes a while.

    Raises:
        EngineError: the file is no model, or PyTorch is missing.
    """
    try:
        loaded = load(path)
    except EngineError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        raise EngineError(
            f"OpenVINO runs {path.name} once it is exported, which needs PyTorch: pip install 'mimicam[torch]',"
            " or give --model the folder that 'mimicam export --target onnx' wrote elsewhere"
        ) from error
    _log.warning("preparing %s for OpenVINO, once; this takes up to a minute", path.name)
    return loaded


def finish(folder: Path, model: str, sha256: str, opset: int, networks: Iterable[NetworkFile]) -> None:
    """Write the manifest of a folder in single precision."""
    manifest = Manifest(
        model=model,
        model_sha256=sha256,
        precision="fp32",
        opset=opset,
        limit=export_folder.LIMITS["fp32"],
        networks=tuple(networks),
    )
    export_folder.write_manifest(folder, manifest)


def entry(onnx: Path, inputs: dict[str, Array], outputs: dict[str, Array]) -> NetworkFile:
    """Write a network's check file and return its entry; ``onnx`` is named for the network."""
    check = f"{onnx.stem}.check.npz"
    export_folder.write_check(onnx.with_name(check), inputs, outputs)
    return NetworkFile(
        name=onnx.stem,
        onnx=onnx.name,
        sha256=sha256_of(onnx),
        check=check,
        inputs=_tensor_specs(inputs),
        outputs=_tensor_specs(outputs),
    )


def _tensor_specs(values: dict[str, Array]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=value.shape, dtype=str(value.dtype)) for name, value in values.items()
    )


def _move(part: Path, folder: Path) -> None:
    """Move files into the folder. The manifest comes last, because it makes the folder valid."""
    folder.mkdir(exist_ok=True)
    for file in sorted(part.iterdir(), key=lambda file: file.name == export_folder.FILE):
        os.replace(file, folder / file.name)


def soft_picture(size: int) -> Array:
    """Draw a picture to compare networks on, float32 ``[1, 3, size, size]`` in -1..1, the same
    everywhere."""
    # Smooth waves: networks were trained on smooth pictures, and noise would exaggerate errors.
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    channels = [np.sin(5 * x + y), np.cos(4 * y - x), np.sin(3 * x * y + 1)]
    return np.stack(channels)[None].astype(np.float32)


def write_network(
    module: nn.Module,
    path: Path,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    *,
    dynamic: bool,
    opset: int = OPSET,
) -> None:
    """Trace a network and write it as ONNX; every weight is an initializer.

    Args:
        module: takes the inputs in order.
        path: written under a temporary name first.
        inputs: examples, by name.
        outputs: names, in order.
        dynamic: lets the first axis of all inputs and outputs be any number.
        opset: see `OPSET`.
    """
    with write_atomically(path) as part:
        trace(module, part, inputs, outputs, dynamic=dynamic, opset=opset)


def trace(
    module: nn.Module,
    path: Path,
    inputs: dict[str, Tensor],
    outputs: Iterable[str],
    *,
    dynamic: bool,
    opset: int,
) -> None:
    """Do what `write_network` does, straight to ``path``."""
    import torch

    names = [*inputs, *outputs]
    with warnings.catch_warnings():
        # About tracing: shapes become constants, as they should, and the exporter recommends its
        # newer self. A user can do nothing about either.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=names[len(inputs) :],
            dynamic_axes={name: {0: "N"} for name in names} if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )
