from __future__ import annotations

import pytest
import torch

from mimicam.kernels import paste_back as op
from mimicam.kernels.paste_back import paste_back
from tests.kernels.cases import affine, frames, generator, soft_mask

# Limit: one grey level, where a blend lands on .5. Worst seen, emulated on x86-64, 2026-11: 1. No GPU has run
# it.
LIMIT = 1
MATRICES = {
    "enlarge": affine(0.4, 17, (-2, 1)),
    "same": affine(1.0, 0, (-4, -3)),
    "shrink": affine(2.7, 90, (40, -20)),
    "away": affine(1.0, 0, (200, 0)),
}


def test_whole_pixel_shift_moves_the_face() -> None:
    frame, face = frames(1, 40, 40), torch.rand(1, 3, 16, 16, generator=generator())
    shift = affine(1, 0, (-10, -5))[None]  # crop (0, 0) lands on frame (10, 5)
    out = paste_back(frame, 2 * face - 1, torch.ones(16, 16), shift, out=torch.empty_like(frame))
    want = frame.clone()
    want[0, 5:21, 10:26] = (255 * face[0]).round().to(torch.uint8).permute(1, 2, 0)
    assert torch.equal(out, want)


def test_half_opacity_is_the_mean_of_face_and_frame() -> None:
    frame = torch.full((1, 6, 6, 3), 100, dtype=torch.uint8)
    face = torch.tensor([0.2, -1.0, 3.0])[None, :, None, None].expand(1, 3, 6, 6).contiguous()  # 153, 0, 255
    half = torch.full((6, 6), 0.5)
    out = paste_back(frame, face, half, affine(1, 0, (0, 0))[None], out=frame.clone())
    assert out[0, 3, 3].tolist() == [126, 50, 178], "126.5 and 177.5 round to the even neighbour"


def test_a_closed_mask_leaves_the_frame_as_it_is() -> None:
    frame = frames(1, 4, 5)
    closed = (torch.ones(1, 3, 4, 4), torch.zeros(4, 4), affine(1, 0, (0, 0))[None])
    assert torch.equal(paste_back(frame, *closed, out=torch.zeros_like(frame)), frame)


def test_the_frame_may_receive_the_result() -> None:
    frame, *rest = _inputs("enlarge", (21, 30), torch.float32, "cpu")
    want = paste_back(frame, *rest, out=torch.empty_like(frame))
    assert torch.equal(paste_back(frame, *rest, out=frame), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(matrix: str, dtype: torch.dtype) -> None:
    size = (21, 35)
    inputs = _inputs(matrix, size, dtype, "cpu")
    want = paste_back(*inputs, out=_empty(size, "cpu"))
    got = op.forward_cuda(*inputs, _empty(size, "cpu"))
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_may_write_over_its_frame() -> None:
    frame, *rest = _inputs("same", (21, 30), torch.float32, "cpu")
    want = paste_back(frame, *rest, out=torch.empty_like(frame))
    got = op.forward_cuda(frame, *rest, frame)
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": torch.zeros(1, 8, 8, 3)}, "frame_NHW3 must be contiguous uint8"),
        ({"face": torch.zeros(2, 3, 4, 4)}, "face_N3hw must be"),
        ({"mask": torch.zeros(4, 5)}, "mask_hw must be"),
        ({"matrices": torch.zeros(1, 3, 3)}, "crop_from_image_N23"),
        ({"out": frames(1, 8, 6)}, "out must be"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, object], words: str) -> None:
    call = {"frame": frames(1, 8, 8), "face": torch.zeros(1, 3, 4, 4), "mask": torch.zeros(4, 4)}
    call |= {"matrices": torch.zeros(1, 2, 3), "out": frames(1, 8, 8)} | change
    inputs = [call.pop(name) for name in ("frame", "face", "mask", "matrices")]
    with pytest.raises(ValueError, match=words):
        paste_back(*inputs, **call)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(37, 53), (720, 1280)], ids=str)
@pytest.mark.parametrize("matrix", MATRICES)
def test_kernel_agrees_with_the_reference(
    matrix: str, size: tuple[int, int], dtype: torch.dtype, gpu: str
) -> None:
    inputs = _inputs(matrix, size, dtype, gpu)
    want = paste_back(*inputs, out=_empty(size, gpu), impl="reference")
    got = paste_back(*inputs, out=_empty(size, gpu), impl="cuda")
    assert (got.int() - want.int()).abs().max() <= LIMIT


def _inputs(matrix: str, size: tuple[int, int], dtype: torch.dtype, device: str) -> tuple[torch.Tensor, ...]:
    """Two frames, and faces in -1..1."""
    face = (2 * torch.rand(2, 3, 13, 17, generator=generator()) - 1).to(dtype)
    matrices = torch.stack([MATRICES[matrix], MATRICES[matrix] + torch.tensor([0, 0, 2.5])])
    inputs = (frames(2, *size), face, soft_mask(13, 17), matrices)
    return tuple(tensor.to(device) for tensor in inputs)


def _empty(size: tuple[int, int], device: str) -> torch.Tensor:
    """Two pictures to write into, filled so that an unwritten byte shows."""
    return (255 - frames(2, *size)).to(device)
