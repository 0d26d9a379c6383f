"""The generator's flow layer in one pass: read the flow, sample, mask, blend.

Shape letters: N batch, C channels, h w = feature map that is sampled, H W = output.
Arithmetic of DPE's flow layer (CVPR 2023, section 3.2; inherited from LIA, ICLR 2022).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mimicam.kernels import _launch
from mimicam.kernels._check import check, check_limits
from mimicam.kernels._launch import Impl

_BLOCK = 128
_CHUNK = 8  # channels per thread: enough loads in flight, and the flow is read once for eight
PLUGIN_BLOCK, PLUGIN_CHUNK, PLUGIN_PACK = _BLOCK, _CHUNK, 8
"""Threads per block, channels per thread, and channels per 16-byte access of the plug-in's
kernels."""
_WAVE = 132 * 8 * _BLOCK
"""Threads of the packed kernels that an H100 or H200 holds at once: 132 multiprocessors, 8
blocks."""
_BACKWARD_BLOCK = (32, 8, 1)  # PIXELS, LANES in cuda/warp_blend.cu
_PACK = {torch.float32: 4, torch.float16: 8}  # 16 bytes


def warp_blend(
    feature_NChw: Tensor,
    activation_NCHW: Tensor,
    flow_N3HW: Tensor,
    *,
    out: tuple[Tensor, Tensor] | None = None,
    impl: Impl = "auto",
) -> tuple[Tensor, Tensor]:
    """Warp a feature map by a flow field, and lay it over an activation by the flow's mask.

    ``tanh`` of the flow's first two channels is the offset (x, then y) in normalised units, the
    sigmoid of the third is the mask. The sampling grid is ``linspace(-1, 1, size)`` plus the
    offset: laid out as if corners were aligned, and sampled as if they were not (bilinear, zeros
    outside). Zero flow is therefore not the identity; the published weights were trained with it.

    ``warped = sample(feature, grid) * mask``; ``blended = warped + activation * (1 - mask)``.
    Computed in float32 and rounded once to the tensors' type.

    Args:
        feature_NChw: float32 or float16 ``[N, C, h, w]``, finite.
        activation_NCHW: same type ``[N, C, H, W]``.
        flow_N3HW: float32 ``[N, 3, H, W]``, contiguous, before tanh and sigmoid. float32 also
            beside float16 feature maps: with a grid in bfloat16 the published generator was seen
            0.25 off.
        out: receives warped and blended, ``[N, C, H, W]`` each. None allocates, and is
            differentiable.
        impl: see ``Impl``.

    Feature, activation and outputs share one layout: all contiguous, or all
    ``torch.channels_last``. The latter is fast, with C a multiple of 8 (float16) or 4 (float32).

    Channels last in half precision, an H200 took 5.7, 8.3 and 13.7 us for 256x64x64, 128x128x128
    and 64x256x256, 35, 48 and 59 % of its copy bandwidth (2026-11). Since then eight channels take
    half of the instructions (248 instead of 482 for sm_90). No GPU has run this version yet.

    Returns:
        warped, blended. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit, or ``out`` meets a wanted
            gradient.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    inputs = (feature_NChw, activation_NCHW, flow_N3HW)
    _check(*inputs, out)
    cuda = _launch.wants_cuda(impl, activation_NCHW)
    wants_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    if out is not None and wants_grad:
        raise ValueError("out= cannot be differentiated; leave it out, or call under torch.no_grad()")
    if cuda and wants_grad:
        warped, blended = _WarpBlend.apply(*inputs)  # type: ignore[no-untyped-call]
        return warped, blended
    if cuda:
        return forward_cuda(
            *inputs, out or (torch.empty_like(activation_NCHW), torch.empty_like(activation_NCHW))
        )
    result = reference(*inputs)
    if out is None:
        return result
    return out[0].copy_(result[0]), out[1].copy_(result[1])


def reference(feature_NChw: Tensor, activation_NCHW: Tensor, flow_N3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Compute in PyTorch what the kernel computes. Traceable to ONNX (GridSample, opset 16 and
    later)."""
    grid, mask, _ = _read_flow(flow_N3HW)
    # Contiguous: torch 2.13 samples channels_last half precision wrongly on a CPU.
    warped = F.grid_sample(feature_NChw.float().contiguous(), grid, align_corners=False) * mask
    blended = warped + activation_NCHW.float() * (1 - mask)
    return warped.to(activation_NCHW.dtype), blended.to(activation_NCHW.dtype)


def reference_backward(
    feature_NChw: Tensor,
    activation_NCHW: Tensor,
    flow_N3HW: Tensor,
    grad_warped: Tensor,
    grad_blended: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute in PyTorch what the backward kernel computes. Autograd through ``reference`` gives
    the same."""
    feature, (grid, mask, offset) = feature_NChw.float().contiguous(), _read_flow(flow_N3HW)
    sampled = F.grid_sample(feature, grid, align_corners=False)
    onto_blended = grad_blended.float()
    # `blended` contains `warped` with weight 1, so its gradient adds.
    onto_warped = grad_warped.float() + onto_blended
    # Bilinear, zeros outside, corners not aligned; gradients of both the map and the grid.
    grad_feature, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
        (onto_warped * mask).contiguous(), feature, grid, 0, 0, False, [True, True]
    )
    onto_mask = (onto_warped * sampled - onto_blended * activation_NCHW.float()).sum(1, keepdim=True)
    # Derivatives: tanh' = 1 - tanh^2, sigmoid' = s (1 - s).
    grad_offset = grad_grid.permute(0, 3, 1, 2) * (1 - offset.square())
    grad_flow = torch.cat((grad_offset, onto_mask * mask * (1 - mask)), dim=1).contiguous()
    grad_activation = torch.empty_like(activation_NCHW).copy_(onto_blended * (1 - mask))
    return torch.empty_like(feature_NChw).copy_(grad_feature), grad_activation, grad_flow


def _read_flow(flow_N3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sampling grid ``[N, H, W, 2]``, mask ``[N, 1, H, W]`` and offset ``[N, 2, H, W]``."""
    H, W = flow_N3HW.shape[2:]
    flow = flow_N3HW.float()
    # From edge to edge, although `align_corners=False` puts samples at centres: as published.
    x = torch.linspace(-1, 1, W, device=flow.device).expand(H, W)
    y = torch.linspace(-1, 1, H, device=flow.device)[:, None].expand(H, W)
    offset = torch.tanh(flow[:, :2])
    grid = torch.stack((x, y), dim=-1) + offset.permute(0, 2, 3, 1)
    return grid, torch.sigmoid(flow[:, 2:]), offset


def forward_cuda(
    feature_NChw: Tensor, activation_NCHW: Tensor, flow_N3HW: Tensor, out: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Queue the forward kernel. The tensors were checked."""
    (N, C, H, W), (h, w) = activation_NCHW.shape, feature_NChw.shape[2:]
    tensors = (feature_NChw, activation_NCHW, flow_N3HW, *out)
    name, pack = _launch.suffix(activation_NCHW.dtype), _PACK[activation_NCHW.dtype]
    packed_layout = not _contiguous(tensors)
    if packed_layout and C % pack == 0:
        share = _packs_per_thread(C // pack, N * H * W)
        kernel = f"warp_blend_{'paired' if share == 2 else 'packed'}_{name}"
        grid = (_launch.blocks(W * (C // pack // share), _BLOCK), H, N)
        numbers = (C, h, w, H, W, _linspace_step(W), _linspace_step(H))
        _launch.launch("warp_blend", kernel, grid, (_BLOCK, 1, 1), *tensors, *numbers)
    else:
        grid = (_launch.blocks(H * W, _BLOCK), _launch.blocks(C, _CHUNK), N)
        sizes = (C, h, w, H, W, int(packed_layout), _CHUNK)
        _launch.launch("warp_blend", f"warp_blend_{name}", grid, (_BLOCK, 1, 1), *tensors, *sizes)
    return out


def _packs_per_thread(packs: int, pixels: int) -> int:
    """Two share one reading of the flow, where threads for a third of the GPU are left."""
    return 2 if packs % 2 == 0 and pixels * packs // 2 >= _WAVE // 3 else 1


def _linspace_step(count: int) -> float:
    """Distance of the values of ``linspace(-1, 1, count)``."""
    return 2.0 / (count - 1) if count > 1 else 0.0


def backward_cuda(
    feature_NChw: Tensor,
    activation_NCHW: Tensor,
    flow_N3HW: Tensor,
    grad_warped: Tensor,
    grad_blended: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queue the backward kernel; allocates the gradients of feature, activation and flow."""
    (N, C, H, W), (h, w) = activation_NCHW.shape, feature_NChw.shape[2:]
    layout = torch.contiguous_format
    if not _contiguous((feature_NChw, activation_NCHW)):
        layout = torch.channels_last
    grads = [grad.contiguous(memory_format=layout) for grad in (grad_warped, grad_blended)]
    # Zeros in float32: threads add atomically, and half precision would lose small terms.
    grad_feature = torch.zeros_like(feature_NChw, dtype=torch.float32, memory_format=layout)
    grad_activation, grad_flow = torch.empty_like(activation_NCHW), torch.empty_like(flow_N3HW)
    tensors = (feature_NChw, activation_NCHW, flow_N3HW, *grads, grad_feature, grad_activation, grad_flow)
    kernel = f"warp_blend_backward_{_launch.suffix(activation_NCHW.dtype)}"
    grid = (_launch.blocks(H * W, _BACKWARD_BLOCK[0]), 1, N)
    packed_layout = int(layout is torch.channels_last)
    _launch.launch("warp_blend", kernel, grid, _BACKWARD_BLOCK, *tensors, C, h, w, H, W, packed_layout)
    return grad_feature.to(feature_NChw.dtype), grad_activation, grad_flow


class _WarpBlend(torch.autograd.Function):
    """The kernel, forward and backward. Gradients of the feature map accumulate in float32, in any
    order."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, activation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(feature, activation, flow)
        return forward_cuda(
            feature, activation, flow, (torch.empty_like(activation), torch.empty_like(activation))
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return backward_cuda(*ctx.saved_tensors, *grads)


def _contiguous(tensors: tuple[Tensor, ...]) -> bool:
    return all(tensor.is_contiguous() for tensor in tensors)


def _check(feature: Tensor, activation: Tensor, flow: Tensor, out: tuple[Tensor, Tensor] | None) -> None:
    _check_shapes(feature, activation, flow)
    if activation.dtype not in _PACK or feature.dtype != activation.dtype:
        raise ValueError(
            f"feature_NChw and activation_NCHW must be both float32 or both float16, got {feature.dtype}"
            f" and {activation.dtype}"
        )
    maps = (feature, activation, *(out or ()))
    if len({tensor.device for tensor in (*maps, flow)}) > 1:
        raise ValueError(f"tensors lie on several devices: {[str(t.device) for t in (*maps, flow)]}")
    if not (_contiguous(maps) or all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)):
        raise ValueError("feature, activation and out must be all contiguous or all channels_last")
    if any(o.shape != activation.shape or o.dtype != activation.dtype for o in out or ()):
        raise ValueError(f"out must be two {activation.dtype} tensors of shape {tuple(activation.shape)}")


def _check_shapes(feature: Tensor, activation: Tensor, flow: Tensor) -> None:
    if feature.dim() != 4 or activation.dim() != 4 or feature.shape[:2] != activation.shape[:2]:
        raise ValueError(
            f"feature_NChw {tuple(feature.shape)} and activation_NCHW {tuple(activation.shape)}"
            " must share N, C"
        )
    N, _, H, W = activation.shape
    if 0 in activation.shape:
        raise ValueError(f"activation_NCHW {tuple(activation.shape)} is empty")
    check("flow_N3HW", flow, (N, 3, H, W), torch.float32)
    largest = max(feature.numel(), activation.numel())
    check_limits("feature_NChw or activation_NCHW", blocks=max(N, H), values=largest)
