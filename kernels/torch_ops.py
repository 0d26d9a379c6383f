"""Our kernels as torch operators, for torch.compile, torch.export and converters to other runtimes.

``mimicam::warp_blend`` has gradients; ``mimicam::upsample_blur`` and ``mimicam::blur`` are for
inference. Importing this module registers them.

An operator is opaque to a tracer, where the function itself is not. An exported graph shows one
node, which a runtime with a plug-in of that name can replace by our kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mimicam.kernels import blur as blurring
from mimicam.kernels import upsample_blur as upsampling
from mimicam.kernels import warp_blend as op


@torch.library.custom_op("mimicam::warp_blend", mutates_args=())
def warp_blend_op(feature: Tensor, activation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """See ``kernels.warp_blend.warp_blend``; allocates its outputs. A feature map in another layout
    is copied."""
    feature = _laid_out_as(activation, feature)
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
    """Gradients of feature, activation and flow: the kernel on a GPU, the same in PyTorch
    elsewhere."""
    feature = _laid_out_as(activation, feature)
    if activation.is_cuda:
        return op.backward_cuda(feature, activation, flow, grad_warped, grad_blended)
    return op.reference_backward(feature, activation, flow, grad_warped, grad_blended)


@warp_blend_backward_op.register_fake
def _backward_shapes(
    feature: Tensor, activation: Tensor, flow: Tensor, grad_warped: Tensor, grad_blended: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    del grad_warped, grad_blended
    return torch.empty_like(feature), torch.empty_like(activation), torch.empty_like(flow)


@torch.library.custom_op("mimicam::upsample_blur", mutates_args=())
def upsample_blur_op(image: Tensor, add: Tensor) -> Tensor:
    """See ``kernels.upsample_blur.upsample_blur``."""
    with torch.no_grad():
        return upsampling.upsample_blur(image, add_NCHW=add, out=torch.empty_like(add))


@upsample_blur_op.register_fake
def _upsampled_shape(image: Tensor, add: Tensor) -> Tensor:
    del image
    return torch.empty_like(add)


@torch.library.custom_op("mimicam::blur", mutates_args=())
def blur_op(image: Tensor, padding: int, gain: float, stride: int) -> Tensor:
    """See ``kernels.blur.blur``. A map in another layout is copied."""
    if not image.is_contiguous(memory_format=torch.channels_last):
        image = image.contiguous()
    out = blurring.empty(image, padding=padding, stride=stride)
    with torch.no_grad():
        return blurring.blur(image, padding=padding, gain=gain, stride=stride, out=out)


@blur_op.register_fake
def _blurred_shape(image: Tensor, padding: int, gain: float, stride: int) -> Tensor:
    del gain
    if not image.is_contiguous(memory_format=torch.channels_last):
        image = image.contiguous()
    return blurring.empty(image, padding=padding, stride=stride)


def _laid_out_as(activation: Tensor, feature: Tensor) -> Tensor:
    layout = torch.contiguous_format if activation.is_contiguous() else torch.channels_last
    return feature.contiguous(memory_format=layout)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_warped: Tensor, grad_blended: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grads: tuple[Tensor, Tensor, Tensor] = warp_blend_backward_op(
        *ctx.saved_tensors, grad_warped, grad_blended
    )
    return grads


warp_blend_op.register_autograd(_backward, setup_context=_keep_inputs)
