"""``warp_composite`` of the compact preset on canvases of 720p and 1080p."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.benchmarks.kernels.measure import Case
from mimicam.kernels.warp_composite import warp_composite

_SIZE = 256
_REACH = 0.35


def cases(device: str = "cuda") -> Iterator[Case]:
    """A crop of the canvas's height."""
    for height, width in ((720, 1280), (1080, 1920)):
        yield _case(height, width, device)


def _case(height: int, width: int, device: str) -> Case:
    # The texture reaches beyond the canvas, since flow samples outside of it.
    margin = round(_REACH * height)
    shape = (1, height + 2 * margin, width + 2 * margin, 4)
    texture = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    background = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, device=device)
    inpaint = 2 * torch.rand(1, 3, _SIZE, _SIZE, device=device) - 1
    visibility = torch.rand(1, 1, _SIZE, _SIZE, device=device)
    coarse = 0.1 * torch.randn(1, 2, 8, 8, device=device)
    flow = F.interpolate(coarse, size=(_SIZE // 2, _SIZE // 2), mode="bicubic").contiguous()
    # The crop is the middle square of the canvas: -1 to 1 over its height.
    scale, half, left = 2 / height, height / 2, (width - height) // 2
    row = [
        scale, (0.5 - left) * scale - 1, scale, 0.5 * scale - 1,
        half, half - 0.5 + left + margin, half - 0.5 + margin,
        -4.0, -2.0, 4.0, 2.0, 2.0, 8.0, 0.0, 25.0,
    ]  # fmt: skip
    numbers = torch.tensor([row], device=device)
    out = torch.empty((1, height, width, 3), dtype=torch.uint8, device=device)
    inputs = (texture, background, inpaint, visibility, flow, numbers)
    extent = torch.tensor(
        [shape[2], shape[1]], device=device
    )  # here: a captured call may not copy from the host
    maps = 4 * (inpaint.numel() + visibility.numel() + flow.numel())
    return Case(
        name=f"{_SIZE} onto {width}x{height}",
        bytes_moved=7 * height * width + maps + out.numel(),
        kernel=partial(warp_composite, *inputs, out=out),
        eager=partial(_eager, *inputs, extent),
        again=partial(_case, height, width, device),
    )


def _eager(
    texture: Tensor,
    background: Tensor,
    inpaint: Tensor,
    visibility: Tensor,
    flow: Tensor,
    numbers: Tensor,
    extent: Tensor,
) -> Tensor:
    """Composite with PyTorch's own operations: grids, four samples, blend, round. No fades: they
    cost more."""
    (height, width), row = background.shape[1:3], numbers[0]
    x = row[0] * torch.arange(width, device=flow.device) + row[1]
    y = row[2] * torch.arange(height, device=flow.device) + row[3]
    own = torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1)[None]
    inside = (own.abs().amax(-1) <= 1)[:, None]
    moved = F.grid_sample(flow, own, padding_mode="border", align_corners=False) * inside
    places = own + moved.permute(0, 2, 3, 1)
    texels = torch.stack((row[4] * places[..., 0] + row[5], row[4] * places[..., 1] + row[6]), -1)
    grid = (2 * texels + 1) / extent - 1
    person = F.grid_sample(
        texture.permute(0, 3, 1, 2).float(), grid, padding_mode="border", align_corners=False
    )
    opacity = person[:, 3:] / 255
    portrait = person[:, :3] + (1 - opacity) * background.permute(0, 3, 1, 2)
    shown = torch.where(
        inside, F.grid_sample(visibility, own, padding_mode="border", align_corners=False), 1.0
    )
    shown = 1 - (1 - shown) * opacity
    paint = F.grid_sample(inpaint * 127.5 + 127.5, own, padding_mode="border", align_corners=False)
    blended = shown * portrait + (1 - shown) * paint.clamp(0, 255)
    return blended.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
