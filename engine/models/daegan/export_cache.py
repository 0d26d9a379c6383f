"""ONNX files of a DAE-GAN model in the user's cache; see `engine.backends.export_cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends import export_cache
from mimicam.engine.backends.export_folder import Array, NetworkFile
from mimicam.engine.models.daegan.model import NETWORKS
from mimicam.engine.models.daegan.torch_model import load_parts

if TYPE_CHECKING:
    from torch import Tensor

    from mimicam.engine.models.daegan.inference import DaeGanParts

_KIND = "daegan-2"
"""Version of the exported form, raised when it changes, so that older files are not used."""


def exported(path: Path, *, cache: Path | None = None) -> Path:
    """Return the folder of a model's ONNX files, exporting them first if there is none.

    Args:
        path: a file that ``mimicam train daegan`` wrote.
        cache: parent folder; None is the user's own cache.

    Raises:
        EngineError: it has to be made and PyTorch is missing, or the cache cannot be written.
    """

    def make(folder: Path, sha256: str) -> None:
        parts = export_cache.load_for_export(path, load_parts)
        import torch

        from mimicam.engine.backends.export_cache import OPSET

        picture = export_cache.soft_picture(parts.config.size)
        # Another picture for the driver: equal ones would hide exchanged inputs.
        other = np.ascontiguousarray(-picture[..., ::-1])
        examples = parts.examples(torch.from_numpy(picture), torch.from_numpy(other))
        entries = (_entry(parts, name, examples[name], folder) for name in NETWORKS)
        export_cache.finish(folder, path.name, sha256, OPSET, entries)

    return export_cache.cached(path, _KIND, make, cache=cache)


def _entry(parts: DaeGanParts, name: str, inputs: dict[str, Tensor], folder: Path) -> NetworkFile:
    from mimicam.engine.backends.export_cache import write_network

    path = folder / f"{name}.onnx"
    write_network(parts.get_submodule(name), path, inputs, parts.specs[name].output_names, dynamic=False)
    return export_cache.entry(path, _arrays(inputs), _arrays(parts.reference(name, inputs)))


def _arrays(values: dict[str, Tensor]) -> dict[str, Array]:
    return {name: value.numpy() for name, value in values.items()}
