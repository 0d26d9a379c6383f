"""Every kernel on awkward sizes against its reference, in a process of its own: for builds with sanitizers.

LD_PRELOAD=$(g++ -print-file-name=libasan.so) python -m tests.kernels.emulation LIBRARY ORDER,... [OP ...]
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from unittest import mock

import torch

from mimicam.kernels import (
    blur,
    crop_normalize,
    edit_codes,
    paste_back,
    upsample_blur,
    warp_blend,
    warp_composite,
)
from tests.kernels.cases import BLURS, WARPS, affine, apart, frames, layered, soft_mask
from tests.kernels.emulation import on_cpu

_LIMIT = 1e-3


def _warp_blend() -> float:
    worst = 0.0
    for case, share in itertools.product(WARPS, (1, 2)):
        inputs = case.tensors()
        out = tuple(torch.full_like(inputs[1], torch.nan) for _ in range(2))
        with mock.patch.object(warp_blend, "_WAVE", warp_blend._WAVE if share == 1 else 1):
            got = warp_blend.forward_cuda(*inputs, out)
        pairs = zip(got, warp_blend.reference(*inputs), strict=True)
        worst = max(worst, *(apart(got, want) for got, want in pairs))
        warp_blend.backward_cuda(*inputs, *out)
    return worst


def _upsample_blur() -> float:
    worst = 0.0
    for size in ((4, 4), (9, 33), (1, 1)):
        image, add = torch.rand(2, 3, *size), torch.rand(2, 3, 2 * size[0], 2 * size[1])
        got = upsample_blur.forward_cuda(image, add, torch.full_like(add, torch.nan))
        worst = max(worst, apart(got, upsample_blur.reference(image, add)))
    return worst


def _crop_normalize() -> float:
    worst = 0.0
    for matrix in (affine(2.6, 11, (-3, 4)), affine(5, -33, (-40, -20)), affine(0.3, 90, (20, 3))):
        call = (frames(1, 13, 18), matrix[None])
        want = crop_normalize.crop_normalize(*call, out=torch.empty(1, 3, 7, 9))
        got = crop_normalize.forward_cuda(*call, torch.empty(1, 3, 7, 9), 2 / 255, -1.0)
        worst = max(worst, apart(got, want))
    return worst


def _paste_back() -> float:
    worst = 0.0
    for matrix in (affine(0.4, 17, (-2, 1)), affine(2.7, 90, (40, -20)), affine(1, 0, (500, 0))):
        inputs = (frames(1, 13, 18), 2 * torch.rand(1, 3, 9, 7) - 1, soft_mask(9, 7), matrix[None])
        want = paste_back.paste_back(*inputs, out=frames(1, 13, 18))
        got = paste_back.forward_cuda(*inputs, frames(1, 13, 18))
        worst = max(worst, float((got.int() - want.int()).abs().max()) / 255)
    return worst


def _warp_composite() -> float:
    worst = 0.0
    for size, opaque in (((14, 18), True), ((18, 13), False), ((1, 2), False)):
        inputs = layered(size=size, opaque=opaque)
        want = warp_composite.warp_composite(*inputs, out=frames(2, *size))
        got = warp_composite.forward_cuda(*inputs, frames(2, *size))
        worst = max(worst, float((got.int() - want.int()).abs().max()) / 255)
    return worst


def _edit_codes() -> float:
    worst = 0.0
    for N, L in ((1, 300), (3, 5)):
        rng = torch.Generator().manual_seed(N)
        pasts = [(torch.zeros(N, edit_codes.PAST, 2 * L), torch.ones(N)) for _ in range(2)]
        for first in (1.0, 0.0, 0.0):
            codes, own = torch.randn(2, N, L, generator=rng), torch.randn(N, 2 * L, generator=rng)
            numbers = torch.rand(N, len(edit_codes.FIELDS), generator=rng).add(0.1)
            numbers[:, edit_codes.FIELDS.index("fresh")] = first
            inputs = (codes[0], codes[1], own, numbers)
            got = edit_codes.forward_cuda(*inputs, *pasts[0], torch.full((N, 2 * L), torch.nan))
            want = edit_codes.reference(*inputs, *pasts[1], torch.empty(N, 2 * L))
            worst = max(worst, apart(got, want))
    return worst


def _blur() -> float:
    worst = 0.0
    for case, rows in itertools.product(BLURS, (1, 5, 9)):
        image = case.tensor()
        want = blur.reference(image, **case.options)
        with mock.patch.object(blur, "_rows", return_value=rows):
            got = blur.forward_cuda(image, **case.options, out=case.unwritten(image))
        worst = max(worst, apart(got, want))
    return worst


def main(library: str, orders: str, *ops: str) -> int:
    """0 when every kernel agrees with its reference; a sanitizer ends the process before that."""
    limits = {_warp_blend: _LIMIT, _upsample_blur: _LIMIT, _crop_normalize: _LIMIT, _paste_back: 1 / 255}
    limits |= {_warp_composite: 1 / 255, _edit_codes: _LIMIT, _blur: _LIMIT}
    wanted = [check for check in limits if not ops or check.__name__[1:] in ops]
    wrong = 0
    for order in orders.split(","):
        with on_cpu(Path(library), order):
            for check in wanted:
                worst = check()
                wrong += worst > limits[check]
                print(f"{order} {check.__name__[1:]}: {worst:.2e}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
