"""Description of a model family for the loader: its files, and the backends that open them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mimicam.engine.backends.networks import ModelInfo, Networks
from mimicam.engine.backends.registry import BACKENDS, ExportReader
from mimicam.engine.models.base import Model


class Form(str, Enum):
    """Form of a model on disk."""

    BUNDLE = "bundle"
    """Folder written by ``mimicam models bundle``."""
    WEIGHTS = "weights"
    """Safetensors file."""
    EXPORT = "export"
    """Folder written by ``mimicam export``."""


Opener = Callable[[Path, int | None], Model]
"""Opens a path; takes the number of inference threads, for backends that have any."""


NO_OPENER = "{family} models in this form do not run on --backend {backend}: use --backend auto"
"""Why a backend does not open a form, where a family has no better reason."""
EXPORT_FIRST = (
    "TensorRT runs exported models: run 'mimicam export --model {model} -o DIR --target tensorrt',"
    " then give --model DIR"
)
"""Why TensorRT opens neither weights nor a bundle."""
REASONS_OF_WEIGHTS: Mapping[tuple[Form, str], str] = {
    (Form.WEIGHTS, "tensorrt"): EXPORT_FIRST,
    **{
        (Form.EXPORT, backend): "{model} holds ONNX files: give --backend {backend} the weights they come"
        " from"
        for backend in ("torch", "torch-half", "torch-compile")
    },
}
"""Reasons of a family whose models are weights, and exports of them; see `Family.reasons`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family. Importing it needs no PyTorch; its openers import what they use."""

    name: str
    networks: frozenset[str]
    """Names of the networks in an export, which identify the family."""
    weights_format: str | None
    """Value of ``format`` in the safetensors header. None: weights come as a bundle only."""
    openers: Mapping[tuple[Form, str], Opener]
    """Openers by form and backend."""
    automatic: Callable[[Form], str]
    """Backend that ``auto`` stands for, by form."""
    reasons: Mapping[tuple[Form, str], str]
    """Message for a form that a backend does not open: the reason and the remedy. ``{model}`` and
    ``{backend}`` are filled in."""
    bundled: Path | None = None
    """Folder of the bundle that ships with mimicam, which ``--model`` takes by the family's
    name."""
    share: Mapping[tuple[Form, str], Callable[..., Any]] = field(default_factory=dict)
    """Openers of one model for several sessions; see `engine.models.load.open_shared`."""

    def reason(self, form: Form, backend: str, model: str) -> str:
        """Why ``backend`` does not open ``form``, and what to do; ``model`` is the user's word for
        it."""
        text = self.reasons.get((form, backend), NO_OPENER)
        return text.format(model=model, backend=backend, family=self.name)


def export_openers(
    make: Callable[[Networks, ModelInfo], Model],
    picture_network: str,
    exported: Callable[[Path], Path],
) -> dict[tuple[Form, str], Opener]:
    """Openers for each backend that runs a folder of ONNX files.

    Args:
        make: the family's model from its networks.
        picture_network: a network that reads pictures of the model's size.
        exported: exports a file of weights once, and gives the folder.
    """

    def opener(read: ExportReader, folder_of: Callable[[Path], Path]) -> Opener:
        return lambda path, threads: make(*read(folder_of(path), picture_network, threads))

    # From the registry, so that a backend that is added runs these families at once.
    found: dict[tuple[Form, str], Opener] = {}
    for backend in BACKENDS:
        if backend.open_export is not None:
            found[Form.EXPORT, backend.name] = opener(backend.open_export, lambda path: path)
            found[Form.WEIGHTS, backend.name] = opener(backend.open_export, exported)
    return found


def torch_if_gpu(form: Form) -> str:
    """Choose PyTorch for weights where it finds a GPU, else OpenVINO; see `Family.automatic`."""
    try:
        import torch
    except ImportError:
        return "openvino"
    # Exports hold no PyTorch weights, and on a processor OpenVINO is faster.
    return "torch" if form is Form.WEIGHTS and torch.cuda.is_available() else "openvino"
