from __future__ import annotations

import pytest
import torch

from mimicam.kernels import crop_normalize as op
from mimicam.kernels.crop_normalize import crop_normalize
from tests.kernels.cases import affine, apart, frames

# Largest error seen, emulated on x86-64, 2026-11: 1.7e-6 in float32 (of a range of 2), 2.5e-4 in float16.
LIMIT = {torch.float32: 5e-5, torch.float16: 1e-3}
MATRICES = {
    "shrink": affine(2.6, 11, (-3, 4)),
    "same": affine(1.0, 0, (0, 0)),
    "enlarge": affine(0.37, 90, (20, 3)),
    "beyond": affine(5.0, -33, (-40, -20)),
    "tiny": affine(30.0, 0, (-40, -20)),
}


def test_whole_pixel_shift_cuts_out_the_crop() -> None:
    frame = frames(1, 20, 24)
    out = crop_normalize(frame, affine(1, 0, (5, 3))[None], out=torch.empty(1, 3, 8, 10), scale=1, shift=0)
    assert torch.equal(out[0], frame[0, 3:11, 5:15].permute(2, 0, 1).float())


def test_halving_takes_the_mean_of_four_pixels() -> None:
    frame = frames(1, 12, 16)
    halved = affine(2, 0, (0.5, 0.5))[None]
    out = crop_normalize(frame, halved, out=torch.empty(1, 3, 6, 8), scale=1, shift=0)
    want = torch.nn.functional.avg_pool2d(frame.permute(0, 3, 1, 2).float(), 2)
    assert torch.allclose(out, want, atol=1e-3)


def test_default_scale_maps_black_and_white_to_minus_one_and_one() -> None:
    frame = torch.tensor([0, 255], dtype=torch.uint8)[None, None, :, None].expand(1, 1, 2, 3).contiguous()
    out = crop_normalize(frame, affine(1, 0, (0, 0))[None], out=torch.empty(1, 3, 1, 2))
    assert torch.allclose(out[0, :, 0], torch.tensor([-1.0, 1.0]).expand(3, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(matrix: str, dtype: torch.dtype) -> None:
    frame, matrices = _inputs(matrix, "cpu")
    want = crop_normalize(frame, matrices, out=torch.empty(2, 3, 11, 9))
    out = torch.full((2, 3, 11, 9), torch.nan, dtype=dtype)
    got = op.forward_cuda(frame, matrices, out, 2 / 255, -1.0)
    assert apart(got, want) <= LIMIT[dtype]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": torch.zeros(1, 4, 4, 3)}, "contiguous uint8"),
        ({"frame": torch.zeros(1, 4, 0, 3, dtype=torch.uint8)}, r"frame_NHW3 must be .*\[1, 4, 0, 3\]"),
        ({"frame": frames(1, 4, 8)[:, :, ::2]}, "not contiguous"),
        ({"matrices": torch.zeros(2, 2, 3)}, "image_from_crop_N23"),
        ({"out": torch.zeros(1, 4, 4, 3)}, "out must be contiguous"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, object], words: str) -> None:
    call = {
        "frame": frames(1, 4, 4),
        "matrices": torch.zeros(1, 2, 3),
        "out": torch.zeros(1, 3, 4, 4),
    } | change
    with pytest.raises(ValueError, match=words):
        crop_normalize(call.pop("frame"), call.pop("matrices"), **call)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("matrix", MATRICES)
def test_kernel_agrees_with_the_reference(matrix: str, dtype: torch.dtype, gpu: str) -> None:
    frame, matrices = _inputs(matrix, gpu)
    want = crop_normalize(frame, matrices, out=torch.empty(2, 3, 67, 51, device=gpu), impl="reference")
    out = torch.empty(2, 3, 67, 51, device=gpu, dtype=dtype)
    assert apart(crop_normalize(frame, matrices, out=out, impl="cuda"), want) <= LIMIT[dtype]


def _inputs(matrix: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures of an odd size; the second one's crop lies elsewhere."""
    matrices = torch.stack([MATRICES[matrix], MATRICES[matrix] + torch.tensor([0, 0, 1.5])])
    return frames(2, 27, 35).to(device), matrices.to(device)
