"""int8 with explicit quantise and dequantise nodes (QDQ), calibrated on frames of a clip.

Convolutions only, weights per channel, symmetric, biases left alone. Not quantised: what makes
sampling grids or the last picture, back to the convolution that reads it, and the first layer.

Activations have two forms, because no single one is right everywhere. TensorRT takes only signed
ones. OpenVINO 2026.4 computes those wrongly behind a concatenation on CPUs without AMX: mean error
0.22 of the largest value on an AMD EPYC with AVX2, 2026-11. Files for CPUs hold the same values as
unsigned integers around 128. Zero points other than 128 do not compile for every network in
OpenVINO. Weights for CPUs use 7 bits: without VNNI a CPU adds two products in 16 bits, and 8-bit
weights overflow them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx

from mimicam.engine import silent_imports
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.export.clip_inputs import Arrays
from mimicam.export.half import ends_search, grid_makers

Activations = Literal["signed", "unsigned"]


def activations_for(target: str) -> Activations:
    """The form that runs where ``mimicam export --target`` aims: unsigned on CPUs, signed in
    TensorRT."""
    return "unsigned" if target == "onnx" else "signed"


class _Frames:
    """See ``onnxruntime.quantization.CalibrationDataReader``."""

    def __init__(self, inputs: Sequence[Arrays]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> Arrays | None:
        return next(self._left, None)


def quantise(path: Path, inputs: Sequence[Arrays], activations: Activations) -> None:
    """Quantise a float32 file in place.

    Args:
        path: the file.
        inputs: what it is calibrated on.
        activations: ``unsigned`` for CPUs, ``signed`` for TensorRT.

    Raises:
        EngineError: ONNX Runtime is not installed.
    """
    try:
        silent_imports.onnxruntime()
        from onnxruntime import quantization as tools
    except ImportError as error:
        raise EngineError("int8 is calibrated by ONNX Runtime: pip install onnxruntime") from error
    model = onnx.load(str(path))
    unsigned = activations == "unsigned"
    level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # it advises on models that it does not know
        with write_atomically(path) as part:
            tools.quantize_static(
                str(path), str(part), _Frames(inputs), quant_format=tools.QuantFormat.QDQ, per_channel=True,
                activation_type=tools.QuantType.QUInt8 if unsigned else tools.QuantType.QInt8,
                weight_type=tools.QuantType.QInt8, reduce_range=unsigned,
                op_types_to_quantize=["Conv"], nodes_to_exclude=sorted(_precise(model.graph)),
                # A percentile: one outlier pixel would otherwise stretch the range of a whole map.
                calibrate_method=tools.CalibrationMethod.Percentile,
                extra_options={
                    "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
                    "CalibPercentile": 99.99,
                },
            )  # fmt: skip
    finally:
        logging.getLogger().setLevel(level)


def _precise(graph: onnx.GraphProto) -> set[str]:
    """Convolutions that stay: they make grids, or the outputs, or are first."""
    producers = {output: node for node in graph.node for output in node.output}
    # Half a pixel in a grid is visible, and 8 bits have steps of about that size.
    found = grid_makers(graph)
    waiting, seen = [value.name for value in graph.output], set[str]()
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in ("Conv", "ConvTranspose"):
            found.add(node.name)
        if not ends_search(node):
            waiting.extend(node.input)
    # First layers read pictures and codes, whose rounding all later layers would inherit.
    consumers = {value.name for value in graph.input}
    return found | {n.name for n in graph.node if n.op_type == "Conv" and n.input[0] in consumers}
