"""DAE-GAN family for the loader: openers, default backend and messages."""

from __future__ import annotations

from pathlib import Path

from mimicam.engine.models.base import Model
from mimicam.engine.models.daegan.model import NETWORKS, DaeGanModel
from mimicam.engine.models.family import Family, Form, export_openers, torch_has_gpu


def _torch(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.daegan.torch_model import open_daegan_torch

    return open_daegan_torch(path)


def _exported(path: Path) -> Path:
    from mimicam.engine.models.daegan.export_cache import exported

    return exported(path)


_NO_HALF = (
    "half precision in PyTorch is for compact bundles and DPE weights (.safetensors of 'mimicam models import'):"
    " use --backend auto"
)
_NO_TENSORRT = "TensorRT does not run DAE-GAN models: use --backend torch"
FAMILY = Family(
    name="daegan",
    networks=frozenset(NETWORKS),
    weights_format="mimicam-daegan",
    openers={
        **export_openers(DaeGanModel, "face_embedder", _exported),
        (Form.WEIGHTS, "torch"): _torch,
    },
    automatic=lambda form: "torch" if form is Form.WEIGHTS and torch_has_gpu() else "openvino",
    reasons={
        (
            Form.EXPORT,
            "torch",
        ): "{path} holds ONNX files: give --backend torch the .safetensors they come from",
        **{(form, "tensorrt"): _NO_TENSORRT for form in (Form.WEIGHTS, Form.EXPORT)},
        **{
            (form, backend): _NO_HALF
            for form in (Form.WEIGHTS, Form.EXPORT)
            for backend in ("torch-half", "torch-compile")
        },
    },
)
