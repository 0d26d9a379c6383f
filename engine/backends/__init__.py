"""What runs a network: OpenVINO, eager PyTorch, TensorRT."""

from __future__ import annotations

from pathlib import Path

from engine.backends.model import Features, Model
from engine.errors import EngineError

__all__ = ["Features", "Model", "load_model"]

BACKENDS = ("auto", "openvino", "torch", "tensorrt")


def load_model(name_or_path: str = "compact", backend: str = "auto", *, threads: int | None = None) -> Model:
    """The model to animate with.

    Args:
        name_or_path: ``compact``, or a folder that ``mimicam bundle`` wrote.
        backend: one of `BACKENDS`; ``auto`` is OpenVINO, which every supported machine has.
        threads: inference threads; None lets the backend choose.

    Raises:
        EngineError: unknown model or backend, or the backend is not available here.
    """
    from engine.backends.openvino_compact import COMPACT_DIR, OpenVinoCompact

    if backend not in BACKENDS:
        raise EngineError(f"no backend '{backend}': choose one of {', '.join(BACKENDS)}")
    folder = COMPACT_DIR if name_or_path == "compact" else Path(name_or_path)
    if name_or_path != "compact" and not folder.exists():
        raise EngineError(f"no model '{name_or_path}': it is neither 'compact' nor a path that exists")
    if backend in ("auto", "openvino"):
        return OpenVinoCompact(folder, threads=threads)
    if backend == "torch":
        from engine.backends.eager import EagerCompact

        return EagerCompact(folder)
    raise EngineError("TensorRT does not run the compact preset yet: use --backend auto")
