"""``mimicam::warp_blend`` as a torch operator: for torch.compile, torch.export, and converters to other runtimes.

Importing this module registers it. The operator is opaque to a tracer, where ``warp_blend`` itself is not: an
exported graph shows one node, which a runtime with a plug-in of that name can replace by our kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels import warp_blend as op


@torch.library.custom_op("mimicam::warp_blend", mutates_args=())
def warp_blend_op(feature: Tensor, activation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """See ``kernels.warp_blend.warp_blend``; allocates its outputs."""
    out = (torch.empty_like(activation), torch.empty_like(activation))
    with torch.no_grad():
        return op.warp_blend(feature, activation, flow, out=out)


@warp_blend_op.register_fake
def _shapes(feature: Tensor, activation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    del feature, flow
    return torch.empty_like(activation), torch.empty_like(activation)


@torch.library.custom_op("mimicam::warp_blend_backward", mutates_args=())
def warp_blend_backward_op(
    feature: Tensor, activation: Tensor, flow: Tensor, grad_warped: Tensor, grad_blended: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of feature, activation and flow: the kernel on a GPU, the same in PyTorch elsewhere."""
    if activation.is_cuda:
        return op.backward_cuda(feature, activation, flow, grad_warped, grad_blended)
    return op.reference_backward(feature, activation, flow, grad_warped, grad_blended)


@warp_blend_backward_op.register_fake
def _backward_shapes(
    feature: Tensor, activation: Tensor, flow: Tensor, grad_warped: Tensor, grad_blended: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    del grad_warped, grad_blended
    return torch.empty_like(feature), torch.empty_like(activation), torch.empty_like(flow)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_warped: Tensor, grad_blended: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grads: tuple[Tensor, Tensor, Tensor] = warp_blend_backward_op(
        *ctx.saved_tensors, grad_warped, grad_blended
    )
    return grads


warp_blend_op.register_autograd(_backward, setup_context=_keep_inputs)
