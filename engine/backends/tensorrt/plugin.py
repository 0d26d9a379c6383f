"""``mimicam::warp_blend`` as a TensorRT plug-in, by its quick-deploy decorators (10.7 and later;
not RTX).

From 10.8 on TensorRT takes compiled kernels (``aot_impl``): a plan carries ours as PTX and needs no
Python to run. Before that it calls back into Python (``impl``). Written against the TensorRT Python
API reference, "tensorrt.plugin": numbers are passed between the inputs and the outputs, and
annotations are read when a function is registered.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mimicam.engine.errors import EngineError

NAME = "mimicam::warp_blend"
TYPES = ("FP16, FP16, FP32, FP16, FP16", "FP32, FP32, FP32, FP32, FP32")
"""Feature, activation, flow; warped, blended. The flow places pixels: float32 always."""
_LINEAR = "LINEAR, LINEAR, LINEAR, LINEAR, LINEAR"
_HWC8 = "HWC8, HWC8, LINEAR, HWC8, HWC8"
"""Channels last in eights, as TensorRT's half-precision convolutions want them. Without it each map
is transposed twice."""

_registered: set[int] = set()


def available(module: Any) -> Any | None:
    """The ``plugin`` part of an installed TensorRT, or None where it has none (8.6, RTX)."""
    try:
        found = importlib.import_module(f"{module.__name__}.plugin")
    except ImportError:
        return None
    return found if hasattr(found, "register") else None


def register(module: Any, compute_capability: str) -> None:
    """Register the plug-in with TensorRT, once a process.

    Args:
        module: the installed TensorRT.
        compute_capability: of the GPU that plans are built for, ``"9.0"``.

    Raises:
        EngineError: this TensorRT takes no plug-ins written in Python.
        KernelBuildError: the kernel does not compile.
    """
    plugin = available(module)
    if plugin is None:
        raise EngineError(
            f"{module.__name__} takes no plug-ins from Python: export with --warp gridsample, or install TensorRT 10.8"
        )
    if id(plugin) in _registered:
        return
    _described(plugin)
    if hasattr(plugin, "aot_impl"):
        _compiled_ahead(module, plugin, compute_capability)
    else:
        _called_back(plugin)
    _registered.add(id(plugin))


def _annotated(function: Callable[..., Any], tensor: type, others: dict[str, Any]) -> Callable[..., Any]:
    """Set real types as annotations. TensorRT reads them, and does not understand strings."""
    function.__annotations__ = dict.fromkeys(("feature", "activation", "flow"), tensor) | others
    return function


def _described(plugin: Any) -> None:
    Desc = plugin.TensorDesc
    pair = tuple[Desc, Desc]  # type: ignore[valid-type]

    def describe(feature: Any, activation: Any, flow: Any) -> Any:
        del feature, flow
        # Both outputs have the activation's shape and type; the feature map may have another size.
        return activation.like(), activation.like()

    def combinations(feature: Any, activation: Any, flow: Any, outputs: Any) -> Any:
        del feature, flow, outputs
        half = [_LINEAR]
        channels = activation.shape_expr[1]
        # Packed accesses need whole groups of eight channels, known when the plan is built.
        if hasattr(plugin, "aot_impl") and channels.is_constant and channels.constant_value() % 8 == 0:
            half.append(_HWC8)
        layouts = [(TYPES[0], layout) for layout in half] + [(TYPES[1], _LINEAR)]
        return [plugin.AutoTuneCombination(types, layout) for types, layout in layouts]

    plugin.register(NAME)(_annotated(describe, Desc, {"return": pair}))
    returned = list[plugin.AutoTuneCombination]
    plugin.autotune(NAME)(_annotated(combinations, Desc, {"outputs": pair, "return": returned}))


def _compiled_ahead(module: Any, plugin: Any, compute_capability: str) -> None:
    from mimicam.kernels import _cupy, _launch

    Desc = plugin.TensorDesc
    target = f"compute_{compute_capability.replace('.', '')}"
    # PTX is what this interface of plug-ins takes.
    ptx = _cupy.compile_for(_launch.source("warp_blend"), target, name="warp_blend.cu", form="ptx")

    def implement(feature: Any, activation: Any, flow: Any, outputs: Any, tactic: Any) -> Any:
        del flow, outputs, tactic
        half = activation.dtype == module.float16
        packed = activation.format == module.TensorFormat.HWC8
        kernel, launch = _launch_of(plugin, activation.shape_expr, half=half, packed=packed)
        N, C, H, W = (activation.shape_expr[i] for i in range(4))
        del N
        h, w = feature.shape_expr[2], feature.shape_expr[3]
        # Symbolic: sizes may be expressions of the inputs' shapes until the plan is built.
        numbers = plugin.SymIntExprs(6)
        for index, value in enumerate((C, h, w, H, W, int(packed))):
            numbers[index] = plugin.SymInt32(value)
        return kernel.encode(), ptx, launch, numbers

    others = {"outputs": tuple[Desc, Desc], "tactic": int}  # type: ignore[valid-type]
    others["return"] = tuple[bytes, bytes, plugin.KernelLaunchParams, plugin.SymIntExprs]
    plugin.aot_impl(NAME)(_annotated(implement, Desc, others))


def _launch_of(plugin: Any, shape: Any, *, half: bool, packed: bool) -> tuple[str, Any]:
    """Kernel and grid of one call; sizes may still be expressions."""
    from mimicam.kernels import warp_blend as op

    N, C, H, W = (shape[i] for i in range(4))
    launch = plugin.KernelLaunchParams()
    # The grid is that of `kernels.warp_blend.forward_cuda`, in TensorRT's words.
    launch.block_x, launch.grid_z = op.PLUGIN_BLOCK, N
    if packed:
        launch.grid_x = plugin.cdiv(W * (C // op.PLUGIN_PACK), op.PLUGIN_BLOCK)
        launch.grid_y = H
        return "warp_blend_plugin_packed_f16", launch
    launch.grid_x = plugin.cdiv(H * W, op.PLUGIN_BLOCK)
    launch.grid_y = plugin.cdiv(C, op.PLUGIN_CHUNK)
    return f"warp_blend_plugin_{'f16' if half else 'f32'}", launch


def _called_back(plugin: Any) -> None:
    """Register the callback form. TensorRT passes addresses and its stream; the kernel is queued
    there and nothing is copied."""
    pair = tuple[plugin.Tensor, plugin.Tensor]

    def implement(feature: Any, activation: Any, flow: Any, outputs: Any, stream: Any) -> None:
        import torch

        from mimicam.kernels.warp_blend import warp_blend

        tensors = [torch.as_tensor(value, device="cuda") for value in (feature, activation, flow, *outputs)]
        # TensorRT's own stream: work on another one would not be ordered with the network's.
        queue = torch.cuda.ExternalStream(stream)
        with torch.cuda.stream(queue), torch.no_grad():
            warp_blend(*tensors[:3], out=(tensors[3], tensors[4]))

    plugin.impl(NAME)(_annotated(implement, plugin.Tensor, {"outputs": pair, "stream": int}))
