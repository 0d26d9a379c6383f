"""Networks as ONNX files, and what ONNX Runtime and OpenVINO make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch.onnx import symbolic_helper

from mimicam.engine import silent_imports
from mimicam.engine.backends.export_cache import trace
from mimicam.engine.backends.export_folder import Arrays
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.silent_imports import ov
from mimicam.export.networks import Network

Runner = Callable[[Path, Arrays], dict[str, npt.NDArray[Any]]]


@symbolic_helper.parse_args("v", "v", "v")
def _warp_blend(graph: Any, feature: Any, activation: Any, flow: Any) -> Any:
    """Write our operator as a node that TensorRT's parser finds among its plug-ins, by name,
    version and namespace."""
    named = {"plugin_version_s": "1", "plugin_namespace_s": "mimicam"}
    warped, blended = graph.op("mimicam::warp_blend", feature, activation, flow, **named, outputs=2)
    for output in (warped, blended):
        # The exporter cannot infer a foreign operator's outputs; both have the activation's type.
        output.setType(activation.type())
    return warped, blended


def write(network: Network, path: Path, *, opset: int) -> None:
    """Trace one network to a file, under a temporary name first. Weights are initializers.

    Raises:
        EngineError: the folder cannot be written.
    """
    with write_atomically(path) as part:
        torch.onnx.register_custom_op_symbolic("mimicam::warp_blend", _warp_blend, 1)  # type: ignore[attr-defined]
        trace(
            network.module.eval(),
            part,
            network.inputs,
            network.outputs,
            dynamic=network.dynamic_batch,
            opset=opset,
        )
        onnx.checker.check_model(str(part), full_check=True)


def port_types(model: onnx.ModelProto) -> dict[str, str]:
    """Type of every input and output of a file: ``float32`` or ``float16``."""
    return {
        value.name: np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        for value in (*model.graph.input, *model.graph.output)
    }


def run_onnxruntime(path: Path, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Run a file in ONNX Runtime on the CPU."""
    runtime = silent_imports.onnxruntime()
    options = runtime.SessionOptions()
    # Errors only: its warnings are advice on the model's form.
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def run_openvino(path: Path, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Run a file in OpenVINO on the CPU, in float32.

    Raises:
        EngineError: OpenVINO does not compile it for this CPU.
    """
    try:
        # On CPUs with bf16 OpenVINO would round by default, and the comparison would measure that.
        compiled = ov.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise EngineError(
            f"{path.name} does not compile in OpenVINO on this CPU: use --precision fp32 ({_last_line(error)})"
        ) from error
    result = compiled(dict(inputs))
    # An output that the network also reads itself has several names.
    return {name: np.array(result[port]) for port in compiled.outputs for name in port.get_names()}


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


RUNNERS: dict[str, Runner] = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def installed_runners() -> dict[str, Runner]:
    """The runtimes on this machine. OpenVINO always is: mimicam depends on it."""
    import importlib.util

    return {name: run for name, run in RUNNERS.items() if importlib.util.find_spec(name)}
