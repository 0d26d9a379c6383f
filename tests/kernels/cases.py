"""Inputs for the kernel tests, and how far results lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimicam.kernels import blur


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apart(got: Tensor, want: Tensor) -> float:
    """Largest difference, as a share of the largest magnitude (of 1 when that is smaller)."""
    got, want = got.detach().float().cpu(), want.detach().float().cpu()
    assert torch.isfinite(got).all(), "the kernel left values unwritten or not finite"
    return float((got - want).abs().max() / want.abs().max().clamp(min=1))


def share_apart(got: Tensor, want: Tensor, limit: float) -> float:
    """Share of the values that lie farther apart than ``apart`` may find them."""
    got, want = got.detach().float().cpu(), want.detach().float().cpu()
    assert torch.isfinite(got).all(), "the kernel left values unwritten or not finite"
    return float(((got - want).abs() / want.abs().max().clamp(min=1) > limit).float().mean())


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Shapes of one ``warp_blend`` call."""

    N: int
    C: int
    map_size: tuple[int, int]
    size: tuple[int, int]
    dtype: torch.dtype = torch.float32
    packed: bool = False

    def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
        """Feature, activation and a flow that reaches far outside the map."""
        rng = generator()
        feature = torch.randn(self.N, self.C, *self.map_size, generator=rng).to(device, self.dtype)
        activation = torch.randn(self.N, self.C, *self.size, generator=rng).to(device, self.dtype)
        flow = 1.5 * torch.randn(self.N, 3, *self.size, generator=rng).to(device)
        if self.packed:
            feature = feature.contiguous(memory_format=torch.channels_last)
            activation = activation.contiguous(memory_format=torch.channels_last)
        return feature, activation, flow


WARPS = [
    Warp(N=2, C=5, map_size=(7, 9), size=(8, 11), dtype=dtype, packed=packed)
    for dtype in (torch.float32, torch.float16)
    for packed in (False, True)
] + [
    Warp(N=2, C=16, map_size=(8, 8), size=(8, 8), packed=True),
    Warp(N=2, C=16, map_size=(8, 8), size=(8, 8), dtype=torch.float16, packed=True),
    Warp(N=1, C=24, map_size=(5, 6), size=(6, 7), dtype=torch.float16, packed=True),
    Warp(N=1, C=11, map_size=(33, 17), size=(33, 17)),
    Warp(N=1, C=9, map_size=(1, 1), size=(1, 3)),
    Warp(N=3, C=1, map_size=(5, 1), size=(16, 1), dtype=torch.float16),
]


@dataclass(frozen=True, kw_only=True)
class Blur:
    """One call of ``blur``."""

    shape: tuple[int, int, int, int]
    padding: int
    gain: float = 1.0
    stride: int = 1
    dtype: torch.dtype = torch.float16
    packed: bool = True

    @property
    def options(self) -> dict[str, Any]:
        return {"padding": self.padding, "gain": self.gain, "stride": self.stride}

    def tensor(self, device: str = "cpu") -> Tensor:
        image = torch.randn(self.shape, generator=generator(2)).to(device, self.dtype)
        return image.contiguous(memory_format=torch.channels_last) if self.packed else image

    def unwritten(self, image: Tensor) -> Tensor:
        """The output's buffer, full of NaN."""
        return blur.empty(image, padding=self.padding, stride=self.stride).fill_(torch.nan)


BLURS = [
    Blur(shape=(2, 16, 8, 8), padding=2),
    Blur(shape=(2, 16, 9, 9), padding=1, gain=4.0),
    Blur(shape=(1, 24, 8, 6), padding=1, stride=2),
    Blur(shape=(1, 8, 21, 5), padding=2, stride=2, dtype=torch.float32),
    Blur(shape=(2, 5, 7, 4), padding=2),
    Blur(shape=(2, 5, 7, 9), padding=1, stride=3, dtype=torch.float32, packed=False),
    Blur(shape=(1, 16, 11, 33), padding=3, packed=False),
    Blur(shape=(1, 8, 4, 4), padding=0),
    Blur(shape=(3, 8, 1, 2), padding=2),
]
"""The model's three uses, then what is not packed, odd, or no larger than the kernel."""


def affine(scale: float, degrees: float, shift: tuple[float, float]) -> Tensor:
    """A 2x3 matrix: rotate and scale, then shift."""
    angle = math.radians(degrees)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, shift[0]], [s, c, shift[1]]], dtype=torch.float32)


def frames(N: int, H: int, W: int) -> Tensor:
    """Pictures of random bytes."""
    return torch.randint(0, 256, (N, H, W, 3), generator=generator(1), dtype=torch.uint8)


def soft_mask(h: int, w: int) -> Tensor:
    """Opacity that falls to 0 on the border."""
    rows, columns = (torch.linspace(0, math.pi, n).sin().clamp(min=0) for n in (h, w))
    mask = (2 * torch.outer(rows, columns)).clamp(max=1)
    mask[0] = mask[-1] = mask[:, 0] = mask[:, -1] = 0
    return mask.contiguous()


def layered(
    *,
    size: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    still: bool = False,
    visibility: float | None = None,
    opaque: bool = True,
) -> tuple[Tensor, ...]:
    """Two portraits for ``warp_composite`` on canvases of this size: pixels, background, inpaint, visibility,
    flow and numbers.

    The crop is the middle square; there are pixels all around the canvas. ``visibility``: everywhere.
    ``opaque``: the whole picture moves; otherwise opacity is random.
    """
    rng, (H, W) = generator(4), size
    side, margin = min(size), 10
    left, top = (W - side) // 2, (H - side) // 2
    flow = torch.zeros(2, 2, 6, 6) if still else 0.4 * torch.randn(2, 2, 6, 6, generator=rng)
    shown = (
        torch.rand(2, 1, 12, 12, generator=rng)
        if visibility is None
        else torch.full((2, 1, 12, 12), visibility)
    )
    inpaint = (2.2 * torch.rand(2, 3, 12, 12, generator=rng) - 1.1).to(dtype)
    scale, half = 2 / side, side / 2
    row = [
        scale, (0.5 - left) * scale - 1, scale, (0.5 - top) * scale - 1,
        half, half - 0.5 + left + margin, half - 0.5 + top + margin,
        -1.6, -1.7, 1.9, 1.8, 2.0, 8.0 if W > H else 0.0, 8.0 if H > W else 0.0, 25.0,
    ]  # fmt: skip
    colours = frames(2, H + 2 * margin, W + 2 * margin)
    opacity = torch.full_like(colours[..., :1], 255) if opaque else colours.flip(1)[..., :1]
    person = torch.cat([(colours * (opacity / 255)).round().to(torch.uint8), opacity], dim=-1)
    background = frames(2, H, W).flip(0)
    return person.contiguous(), background, inpaint, shown, flow, torch.tensor([row, row])
