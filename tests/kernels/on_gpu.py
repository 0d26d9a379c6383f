"""Every kernel on small awkward sizes on a GPU, against its reference: a short program, for compute-sanitizer to run.

compute-sanitizer --tool memcheck --error-exitcode 9 python -m tests.kernels.on_gpu [OP ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from mimicam.kernels import (
    _launch,
    blur,
    crop_normalize,
    edit_codes,
    paste_back,
    upsample_blur,
    warp_blend,
    warp_composite,
)
from tests.kernels.cases import BLURS, WARPS, affine, apart, frames, layered, soft_mask

LIMIT = 2e-3
NOT_HERE = 77
"""No GPU."""


def warp_blends(device: str) -> float:
    """Both layouts, both types, forward and backward."""
    worst = 0.0
    for case in WARPS:
        inputs = case.tensors(device)
        got = warp_blend.warp_blend(*inputs, out=(torch.empty_like(inputs[1]), torch.empty_like(inputs[1])))
        want = warp_blend.reference(*inputs)
        worst = max(worst, *(apart(a, b) for a, b in zip(got, want, strict=True)))
        grads = [torch.ones_like(inputs[1]) for _ in range(2)]
        backward = warp_blend.backward_cuda if device == "cuda" else warp_blend.reference_backward
        pairs = zip(backward(*inputs, *grads), warp_blend.reference_backward(*inputs, *grads), strict=True)
        worst = max(worst, *(apart(a, b) / 5 for a, b in pairs))  # sums in any order
    return worst


def upsample_blurs(device: str) -> float:
    """With the addition."""
    worst = 0.0
    for size in ((4, 4), (9, 33), (1, 1)):
        image = torch.rand(2, 3, *size, device=device)
        add = torch.rand(2, 3, 2 * size[0], 2 * size[1], device=device)
        got = upsample_blur.upsample_blur(image, add_NCHW=add)
        worst = max(worst, apart(got, upsample_blur.reference(image, add)))
    return worst


def crop_normalizes(device: str) -> float:
    """Shrunk, enlarged and turned."""
    worst = 0.0
    for matrix in (affine(2.6, 11, (-3, 4)), affine(0.3, 90, (20, 3))):
        call = (frames(1, 13, 18), matrix[None])
        want = crop_normalize.crop_normalize(*call, out=torch.empty(1, 3, 7, 9))
        out = torch.empty(1, 3, 7, 9, device=device)
        got = crop_normalize.crop_normalize(*(t.to(device) for t in call), out=out)  # type: ignore[misc]
        worst = max(worst, apart(got, want))
    return worst


def paste_backs(device: str) -> float:
    """Enlarged, shrunk and turned; a grey level may round the other way."""
    worst = 0.0
    for matrix in (affine(0.4, 17, (-2, 1)), affine(2.7, 90, (40, -20))):
        inputs = (frames(1, 13, 18), 2 * torch.rand(1, 3, 9, 7) - 1, soft_mask(9, 7), matrix[None])
        out = frames(1, 13, 18)
        want = paste_back.paste_back(*inputs, out=out.clone())
        got = paste_back.paste_back(*(t.to(device) for t in inputs), out=out.to(device))  # type: ignore[misc]
        worst = max(worst, float((got.cpu().int() - want.int()).abs().max() - 1) / 255)
    return worst


def warp_composites(device: str) -> float:
    """Wide and high; a grey level may round the other way."""
    worst = 0.0
    for size, opaque in (((14, 18), True), ((18, 13), False)):
        inputs, out = layered(size=size, opaque=opaque), frames(2, *size)
        want = warp_composite.warp_composite(*inputs, out=out.clone())
        got = warp_composite.warp_composite(*(t.to(device) for t in inputs), out=out.to(device))  # type: ignore[misc]
        worst = max(worst, float((got.cpu().int() - want.int()).abs().max() - 1) / 255)
    return worst


def code_edits(device: str) -> float:
    """A few frames of several sessions."""
    worst = 0.0
    for N, L in ((1, 300), (3, 5)):
        rng = torch.Generator().manual_seed(N)
        sides = [(torch.zeros(N, edit_codes.PAST, 2 * L), torch.ones(N)) for _ in range(2)]
        past, unit = (tensor.to(device) for tensor in sides[0])
        for first in (1.0, 0.0, 0.0):
            codes, own = torch.randn(2, N, L, generator=rng), torch.randn(N, 2 * L, generator=rng)
            numbers = torch.rand(N, len(edit_codes.FIELDS), generator=rng).add(0.1)
            numbers[:, edit_codes.FIELDS.index("fresh")] = first
            inputs = [t.contiguous().to(device) for t in (codes[0], codes[1], own, numbers)]
            got = edit_codes.edit_codes(*inputs, past, unit, out=torch.empty(N, 2 * L, device=device))
            want = edit_codes.reference(codes[0], codes[1], own, numbers, *sides[1], torch.empty(N, 2 * L))
            worst = max(worst, apart(got, want))
    return worst


def blurs(device: str) -> float:
    """Both layouts, both types."""
    worst = 0.0
    for case in BLURS:
        image = case.tensor(device)
        worst = max(worst, apart(blur.blur(image, **case.options), blur.reference(image, **case.options)))
    return worst


CHECKS: dict[str, Callable[[str], float]] = dict(
    zip(
        _launch.OPS,
        (warp_blends, crop_normalizes, paste_backs, warp_composites, upsample_blurs, code_edits, blurs),
        strict=True,
    )
)


def main(arguments: list[str], device: str | None = None) -> int:
    """0: all agree; 1: one does not; 77: no GPU."""
    if device is None and not torch.cuda.is_available():
        print("no GPU that PyTorch can use", file=sys.stderr)
        return NOT_HERE
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
        False  # references in full float32
    )
    wrong = 0
    for op in arguments or list(CHECKS):
        worst = CHECKS[op](device or "cuda")
        wrong += not worst <= LIMIT
        print(f"{op}: {worst:.1e}", flush=True)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
