"""Imports libraries that report their use to their makers, with that switched off. The only place
that does.

Import OpenVINO from here: ``from mimicam.engine.silent_imports import ov``. A test finds every
import that does not.
"""

from __future__ import annotations

import sys
from typing import Any

# ``import openvino`` sends an event with a lasting client id to Google Analytics (openvino/tools/ovc/__init__.py), which it
# keeps in the home folder. Where its telemetry package cannot be imported, it takes a stub of its own that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

__all__ = ["onnxruntime", "ov"]


def onnxruntime() -> Any:
    """Import ONNX Runtime, with the reports switched off that it sends to Microsoft on Windows.

    Raises:
        ImportError: it is not installed.
    """
    import onnxruntime as module

    module.disable_telemetry_events()
    return module
