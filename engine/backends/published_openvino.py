"""DPE and DAE-GAN on OpenVINO, from a folder of ONNX files."""

from __future__ import annotations

from pathlib import Path

from engine.backends.daegan import DaeGanModel
from engine.backends.openvino_networks import open_export
from engine.backends.published import PublishedModel


def open_openvino(folder: Path, *, threads: int | None = None) -> PublishedModel:
    """The model that was exported to a folder.

    Args:
        folder: written by ``mimicam export``, or by `engine.backends.published_cache.exported`.
        threads: inference threads; None takes the physical cores, at most eight.

    Raises:
        EngineError: the folder is damaged, or holds no DPE.
    """
    return PublishedModel(*open_export(folder, "encoder", threads))


def open_daegan_openvino(folder: Path, *, threads: int | None = None) -> DaeGanModel:
    """The same for a DAE-GAN, from ``mimicam export`` or `engine.backends.daegan_cache.exported`.

    Raises:
        EngineError: the folder is damaged, or holds no DAE-GAN.
    """
    return DaeGanModel(*open_export(folder, "face_embedder", threads))
