"""What runs a network: OpenVINO, eager PyTorch, TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.backends.model import Features, LiveModel, Model, PictureModel, TrackerModel
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.backends.model_files import ModelFile

__all__ = ["Features", "LiveModel", "Model", "PictureModel", "TrackerModel", "load_model"]

BACKENDS = ("auto", "openvino", "torch", "torch-half", "torch-compile", "tensorrt")


def load_model(
    name_or_path: str = "compact", backend: str = "auto", *, threads: int | None = None
) -> LiveModel:
    """The model to animate with; a `PictureModel` where it is a published one.

    Args:
        name_or_path: ``compact``, a folder that ``mimicam bundle`` or ``mimicam export`` wrote, or a
            ``.safetensors`` of ``mimicam models import`` or ``mimicam train-daegan``.
        backend: one of `BACKENDS`; ``auto`` is PyTorch for such a file where it has a GPU, TensorRT for
            an exported compact model (nothing else runs it), else OpenVINO, which every supported machine has.
            ``torch-half`` and ``torch-compile`` are half precision with our CUDA kernels, a frame as one CUDA graph, as
            PyTorch runs it or compiled by it.
        threads: inference threads of OpenVINO; None lets the backend choose.

    Raises:
        EngineError: unknown model or backend, or the backend is not available here.
    """
    from engine.backends.model_files import Kind, find_model

    if backend not in BACKENDS:
        raise EngineError(f"no backend '{backend}': choose one of {', '.join(BACKENDS)}")
    found = find_model(name_or_path)
    if backend in ("torch-half", "torch-compile"):
        return _half(found, compiled=backend == "torch-compile")
    if found.kind is Kind.COMPACT:
        return _compact(found.path, backend, threads)
    if found.kind is Kind.COMPACT_EXPORT:
        return _compact_export(found.path, backend)
    if backend == "tensorrt":
        return _plans(found)
    if found.kind in (Kind.PUBLISHED, Kind.DAEGAN):
        return _weights(found, backend, threads)
    return _export(found, backend, threads)


def _compact(folder: Path, backend: str, threads: int | None) -> LiveModel:
    if backend == "torch":
        from engine.backends.compact_model import open_bundle_torch

        return open_bundle_torch(folder)
    if backend == "tensorrt":
        _require_gpu()
        raise EngineError(
            "TensorRT runs exported models: run 'mimicam export --model compact -o DIR --target tensorrt',"
            " then give --model DIR"
        )
    from engine.backends.compact_model import open_bundle_openvino

    return open_bundle_openvino(folder, threads=threads)


def _compact_export(folder: Path, backend: str) -> LiveModel:
    if backend not in ("auto", "tensorrt"):
        raise EngineError(f"{folder} is an export for TensorRT: --backend {backend} runs --model compact")
    from engine.backends.plan_start import start_compact

    return start_compact(folder)


def _weights(found: ModelFile, backend: str, threads: int | None) -> LiveModel:
    """A DPE or a DAE-GAN as it was published: eager, or exported once for OpenVINO."""
    if backend == "torch" or (backend == "auto" and _torch_has_gpu()):
        from engine.backends.daegan_torch import open_daegan_torch
        from engine.backends.published_torch import open_torch

        return (open_daegan_torch if found.is_daegan else open_torch)(found.path)
    from engine.backends import daegan_cache, published_cache
    from engine.backends.model_files import find_model

    folder = (daegan_cache if found.is_daegan else published_cache).exported(found.path)
    return _export(find_model(str(folder)), backend, threads)


def _export(found: ModelFile, backend: str, threads: int | None) -> LiveModel:
    if backend == "torch":
        raise EngineError(
            f"{found.path} holds ONNX files: give --backend torch the .safetensors they come from"
        )
    from engine.backends.published_openvino import open_daegan_openvino, open_openvino

    opener = open_daegan_openvino if found.is_daegan else open_openvino
    return opener(found.path, threads=threads)


def _half(found: ModelFile, *, compiled: bool) -> LiveModel:
    from engine.backends.model_files import Kind

    if found.kind not in (Kind.PUBLISHED, Kind.COMPACT):
        raise EngineError(
            "half precision in PyTorch is for compact bundles and published weights (.safetensors of 'mimicam models"
            " import'): use --backend auto"
        )
    _require_gpu()
    from engine.backends.gpu_compact import open_compact_half
    from engine.backends.gpu_published import open_half

    opener = open_half if found.kind is Kind.PUBLISHED else open_compact_half
    return opener(found.path, engine="compile" if compiled else "eager")


def _require_gpu() -> None:
    """What this machine lacks comes before what else TensorRT wants."""
    from engine.backends.cuda_gpu import CudaGpu

    CudaGpu()


def _plans(found: ModelFile) -> LiveModel:
    _require_gpu()
    if found.is_daegan:
        raise EngineError("TensorRT does not run DAE-GAN models: use --backend torch")
    if found.path.is_file():
        raise EngineError(
            f"TensorRT runs exported models: run 'mimicam export --model {found.path} -o DIR --target tensorrt',"
            " then give --model DIR"
        )
    from engine.backends.plan_start import start_published

    return start_published(found.path)


def _torch_has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
