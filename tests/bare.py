"""An interpreter like that of a bare GPU machine: PyTorch, OpenCV and onnx, none of the product's other packages."""

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
    """Of processes, and all that they start, in which those packages can neither be found nor imported."""
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in LACKS)]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join((str(folder), root, *filter(None, (os.environ.get("PYTHONPATH"),))))
    return os.environ | {"PYTHONPATH": path}
