"""Write a network as an ONNX file, as OpenVINO and TensorRT read it.

Opset 20 brings GridSample's present form; 17 is the least that TensorRT 8.6 reads. Every weight is an
initializer. The batch is the only dynamic axis.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mimicam.engine.files import write_atomically

OPSET = 17


def write_network(
    module: nn.Module,
    path: Path,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    *,
    dynamic: bool,
    opset: int = OPSET,
) -> None:
    """Trace one network on ``inputs``, under a temporary name first; ``dynamic``: its first axis may be any number."""
    with write_atomically(path) as part:
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(part),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "N"} for name in (*inputs, *outputs)} if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )
