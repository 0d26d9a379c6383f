"""DPE and DAE-GAN on OpenVINO, from a folder of ONNX files."""

from __future__ import annotations

from pathlib import Path

from engine.backends.openvino_networks import open_export
from engine.models.daegan.model import DaeGanModel
from engine.models.dpe.model import DpeModel


def open_openvino(folder: Path, *, threads: int | None = None) -> DpeModel:
    """The model that was exported to a folder.

    Args:
        folder: written by ``mimicam export``, or by `engine.models.dpe.export_cache.exported`.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: the folder is damaged, or holds no DPE.
    """
    return DpeModel(*open_export(folder, "encoder", threads))


def open_daegan_openvino(folder: Path, *, threads: int | None = None) -> DaeGanModel:
    """The same for a DAE-GAN, from ``mimicam export`` or `engine.models.daegan.export_cache.exported`.

    Raises:
        EngineError: the folder is damaged, or holds no DAE-GAN.
    """
    return DaeGanModel(*open_export(folder, "face_embedder", threads))
