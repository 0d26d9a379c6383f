"""Plans by torch-tensorrt: PyTorch's own exporter in the place of ONNX, our operator as TensorRT's
plug-in.

Written against the documentation of torch-tensorrt 2.11 to 2.14 ("Writing Dynamo Converters",
"Plugin System", ``convert_exported_program_to_serialized_trt_engine``). The converter it would
generate hands on one output only, and our operator has two; so there is one of our own. What comes
out is a plan like any other: TensorRT runs it.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from mimicam.engine.backends.tensorrt import plugin as tensorrt_plugin
from mimicam.engine.backends.tensorrt.api import TensorRt
from mimicam.engine.errors import EngineError
from mimicam.engine.models.dpe.half_parts import Form
from mimicam.export.networks import Network

_FAILURES = (RuntimeError, ValueError, AssertionError, NameError, TypeError)
"""Exceptions of a failed conversion. It logs its own error first; 2.11 then misses the result
(NameError)."""

_converters: set[int] = set()


def find() -> Any:
    """The package.

    Raises:
        EngineError: it is not installed; names the version that goes with this PyTorch.
    """
    try:
        return importlib.import_module("torch_tensorrt")
    except (ImportError, OSError) as error:
        version = ".".join(torch.__version__.split(".")[:2])
        first = str(error).splitlines()[0]
        raise EngineError(
            f"torch-tensorrt is not available ({first}): pip install 'torch-tensorrt=={version}.*'"
        ) from error


def build(network: Network, package: Any, api: TensorRt, compute_capability: str, *, half: bool) -> bytes:
    """Convert one network to a plan. Needs the GPU.

    Args:
        network: from ``load_networks``.
        package: from ``find``.
        api: the TensorRT that will run it.
        compute_capability: of the GPU.
        half: convolutions and feature maps in float16.

    Raises:
        EngineError: it does not convert.
    """
    network = typed(network, half=half)
    register(package, api, compute_capability)
    module = network.module.cuda()
    inputs = [value.cuda() for value in network.inputs.values()]
    try:
        # From PyTorch directly: the ONNX parser would need the plug-in's name and attributes.
        program = torch.export.export(module, tuple(inputs))
        convert = package.dynamo.convert_exported_program_to_serialized_trt_engine
        return bytes(convert(program, inputs=inputs))
    except _FAILURES as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"torch-tensorrt does not convert {network.name} ({first}): use --target tensorrt"
        ) from error


def typed(network: Network, *, half: bool) -> Network:
    """The network with its types in the module, as strongly typed TensorRT wants them.

    Raises:
        EngineError: it cannot be had in half precision.
    """
    if network.folded:
        return network.in_form(Form(dtype=torch.float16 if half else torch.float32, portable=True))
    if half:
        raise EngineError(
            "torch-tensorrt takes the compact model in fp32 only: use --target tensorrt for fp16"
        )
    return network


def register(package: Any, api: TensorRt, compute_capability: str) -> None:
    """Plug-in and converter, once a process.

    Raises:
        EngineError: this TensorRT takes no plug-ins from Python.
    """
    api.take_plugins(compute_capability)
    # A second registration would be used beside the first, not instead of it.
    if id(package) in _converters:
        return
    conversion = package.dynamo.conversion
    plugin = tensorrt_plugin.available(api.module)
    assert plugin is not None, "take_plugins has refused a TensorRT without plug-ins"
    ahead = hasattr(plugin, "aot_impl")

    def convert(ctx: Any, _target: Any, args: tuple[Any, ...], _kwargs: Any, name: str) -> tuple[Any, Any]:
        tensor_of = conversion.converter_utils.get_trt_tensor
        # Constants among the arguments become tensors of the network first.
        tensors = [tensor_of(ctx, value, f"{name}_input_{index}") for index, value in enumerate(args[:3])]
        layer = ctx.net.add_plugin(plugin.op.mimicam.warp_blend(*tensors), aot=ahead)
        layer.name = name
        return layer.get_output(0), layer.get_output(1)

    target = torch.ops.mimicam.warp_blend.default
    conversion.dynamo_tensorrt_converter(target, supports_dynamic_shapes=True)(convert)
    _converters.add(id(package))
