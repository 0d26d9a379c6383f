"""Run an interpreter like that of a bare GPU machine.

It has PyTorch, OpenCV and onnx, and none of the product's other packages.
"""

from __future__ import annotations

import os
from pathlib import Path

LACKS = (
    "openvino",
    "av",
    "tyro",
    "moderngl",
    "onnxruntime",
    "torchvision",
    "tensorrt",
    "tensorrt_rtx_bindings",
)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of processes in which those packages cannot be found or imported."""
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in LACKS)]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join((str(folder), root, *filter(None, (os.environ.get("PYTHONPATH"),))))
    return os.environ | {"PYTHONPATH": path}
