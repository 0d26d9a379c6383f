"""Open a model by its name or path on one of the backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.models.base import LiveModel

if TYPE_CHECKING:
    from engine.backends.gpu_networks import Engine
    from engine.models.dpe.gpu.batch import SharedModel
    from engine.models.identify import ModelFile

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
    from engine.models.identify import Kind, find_model

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
    if found.kind in (Kind.DPE, Kind.DAEGAN):
        return _weights(found, backend, threads)
    return _export(found, backend, threads)


def open_shared(model: str, backend: str, *, slots: int, wait_s: float) -> SharedModel | None:
    """A model for so many sessions; None where each has one of its own: not DPE, or not on a GPU.

    Raises:
        EngineError: what it needs is missing.
    """
    from engine.models.identify import Kind, find_model

    found = find_model(model)
    if found.kind is Kind.DPE and backend in ("torch-half", "torch-compile"):
        from engine.models.dpe.gpu.batch import share_half

        engine: Engine = "compile" if backend == "torch-compile" else "eager"
        return share_half(found.path, engine, slots=slots, wait_s=wait_s)
    if found.kind is Kind.DPE_EXPORT and backend == "tensorrt":
        from engine.models.dpe.gpu.batch import share_plans

        return share_plans(found.path, slots=slots, wait_s=wait_s)
    return None


def _compact(folder: Path, backend: str, threads: int | None) -> LiveModel:
    if backend == "torch":
        from engine.models.compact.model import open_bundle_torch

        return open_bundle_torch(folder)
    if backend == "tensorrt":
        _require_gpu()
        raise EngineError(
            "TensorRT runs exported models: run 'mimicam export --model compact -o DIR --target tensorrt',"
            " then give --model DIR"
        )
    from engine.models.compact.model import open_bundle_openvino

    return open_bundle_openvino(folder, threads=threads)


def _compact_export(folder: Path, backend: str) -> LiveModel:
    if backend not in ("auto", "tensorrt"):
        raise EngineError(f"{folder} is an export for TensorRT: --backend {backend} runs --model compact")
    from engine.models.plan_start import start_compact

    return start_compact(folder)


def _weights(found: ModelFile, backend: str, threads: int | None) -> LiveModel:
    """A DPE or a DAE-GAN as it was published: eager, or exported once for OpenVINO."""
    if backend == "torch" or (backend == "auto" and _torch_has_gpu()):
        from engine.models.daegan.torch_model import open_daegan_torch
        from engine.models.dpe.torch_model import open_torch

        return (open_daegan_torch if found.is_daegan else open_torch)(found.path)
    from engine.models.daegan import export_cache as daegan_cache
    from engine.models.dpe import export_cache as published_cache
    from engine.models.identify import find_model

    folder = (daegan_cache if found.is_daegan else published_cache).exported(found.path)
    return _export(find_model(str(folder)), backend, threads)


def _export(found: ModelFile, backend: str, threads: int | None) -> LiveModel:
    if backend == "torch":
        raise EngineError(
            f"{found.path} holds ONNX files: give --backend torch the .safetensors they come from"
        )
    from engine.models.openvino_exports import open_daegan_openvino, open_openvino

    opener = open_daegan_openvino if found.is_daegan else open_openvino
    return opener(found.path, threads=threads)


def _half(found: ModelFile, *, compiled: bool) -> LiveModel:
    from engine.models.identify import Kind

    if found.kind not in (Kind.DPE, Kind.COMPACT):
        raise EngineError(
            "half precision in PyTorch is for compact bundles and published weights (.safetensors of 'mimicam models"
            " import'): use --backend auto"
        )
    _require_gpu()
    from engine.models.compact.frame_graph import open_compact_half
    from engine.models.dpe.gpu.networks import open_half

    opener = open_half if found.kind is Kind.DPE else open_compact_half
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
    from engine.models.plan_start import start_dpe

    return start_dpe(found.path)


def _torch_has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
