"""The backends that ``--backend`` can name: the only list of them. Importing it loads no library.

A backend with an ``open_export`` runs every model family that comes as a folder of ONNX files,
without a line in that family. The others run the families that name them; see
`engine.models.family`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mimicam.engine.backends.networks import ModelInfo, Networks

BackendName = Literal["auto", "openvino", "torch", "torch-half", "torch-compile", "tensorrt"]
"""Names that ``--backend`` accepts. ``auto`` is each family's own choice."""

ExportReader = Callable[[Path, str, int | None], tuple[Networks, ModelInfo]]
"""Opens a folder of ``mimicam export``. Takes the folder, the network that reads the portrait, and
the inference threads (None: the backend chooses)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One row of the registry."""

    name: BackendName
    needs_gpu: bool = False
    """An NVIDIA GPU that PyTorch can use; its absence is reported before anything else."""
    open_export: ExportReader | None = None
    """None: it runs no ONNX file as it is."""


def _openvino(folder: Path, picture_network: str, threads: int | None) -> tuple[Networks, ModelInfo]:
    from mimicam.engine.backends.openvino import open_export

    return open_export(folder, picture_network, threads)


BACKENDS = (
    Backend(name="openvino", open_export=_openvino),
    Backend(name="torch"),
    Backend(name="torch-half", needs_gpu=True),
    Backend(name="torch-compile", needs_gpu=True),
    Backend(name="tensorrt", needs_gpu=True),
)
"""``torch-half`` and ``torch-compile`` run in half precision with our CUDA kernels, each frame as
one CUDA graph: as PyTorch runs it, or compiled by it."""


def backend_names() -> tuple[str, ...]:
    """The choices, ``auto`` first."""
    return get_args(BackendName)


def find_backend(name: str) -> Backend:
    """The row of a backend.

    Raises:
        ValueError: ``name`` is ``auto`` or unknown.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    raise ValueError(f"name must be one of {', '.join(each.name for each in BACKENDS)}, got {name!r}")
