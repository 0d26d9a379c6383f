from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mimicam.kernels import paste_back as op
from mimicam.kernels._pixels import Pixels
from mimicam.kernels.paste_back import paste_back
from tests.kernels.cases import affine, frames, generator, soft_mask

# Limit: one grey level, where a blend lands on .5. Worst seen, emulated on x86-64, 2026-11: 1. No GPU has run
# it.
LIMIT = 1
PIXELS: tuple[Pixels, ...] = ("rgb", "bgr", "nv12", "i420")
FULL_RANGE = torch.tensor([[[255.0, 0.0]] * 3])
MATRICES = {
    "enlarge": affine(0.4, 17, (-2, 1)),
    "same": affine(1.0, 0, (-4, -3)),
    "shrink": affine(2.7, 90, (40, -20)),
    "away": affine(1.0, 0, (200, 0)),
}


def test_whole_pixel_shift_moves_the_face() -> None:
    frame, face = frames(1, 40, 40), torch.rand(1, 3, 16, 16, generator=generator())
    shift = affine(1, 0, (-10, -5))[None]  # crop (0, 0) lands on frame (10, 5)
    out = paste_back(frame, face, torch.ones(16, 16), shift, FULL_RANGE, out=torch.empty_like(frame))
    want = frame.clone()
    want[0, 5:21, 10:26] = (255 * face[0]).round().to(torch.uint8).permute(1, 2, 0)
    assert torch.equal(out, want)


def test_half_opacity_is_the_mean_of_face_and_frame() -> None:
    frame, face = torch.full((1, 6, 6, 3), 100, dtype=torch.uint8), torch.full((1, 3, 6, 6), 0.5)
    colour = torch.tensor([[[200.0, 50.0], [200.0, 0.0], [1000.0, 0.0]]])  # 150, 100, and 500 held at 255
    out = paste_back(
        frame, face, torch.full((6, 6), 0.5), affine(1, 0, (0, 0))[None], colour, out=frame.clone()
    )
    assert out[0, 3, 3].tolist() == [125, 100, 178]


def test_closed_mask_converts_the_frame_as_opencv_does() -> None:
    frame = torch.full((1, 4, 4, 3), 0, dtype=torch.uint8) + torch.tensor([200, 90, 30], dtype=torch.uint8)
    closed = (torch.zeros(1, 3, 4, 4), torch.zeros(4, 4), affine(1, 0, (0, 0))[None], FULL_RANGE)
    out = paste_back(frame, *closed, out=torch.empty(1, 6, 4, dtype=torch.uint8), pixels="i420")
    want = cv2.cvtColor(frame[0].numpy(), cv2.COLOR_RGB2YUV_I420)
    assert np.abs(out[0].numpy().astype(int) - want).max() <= 1


def test_the_frame_may_receive_the_result() -> None:
    frame, *rest = _inputs("enlarge", (21, 30), torch.float32, "cpu")
    want = paste_back(frame, *rest, out=torch.empty_like(frame))
    assert torch.equal(paste_back(frame, *rest, out=frame), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(matrix: str, pixels: Pixels, dtype: torch.dtype) -> None:
    size = (21, 35) if pixels in ("rgb", "bgr") else (22, 36)
    inputs = _inputs(matrix, size, dtype, "cpu")
    want = paste_back(*inputs, out=_empty(pixels, size, "cpu"), pixels=pixels)
    got = op.forward_cuda(*inputs, _empty(pixels, size, "cpu"), pixels, "bt601")
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_may_write_over_its_frame() -> None:
    frame, *rest = _inputs("same", (21, 30), torch.float32, "cpu")
    want = paste_back(frame, *rest, out=torch.empty_like(frame))
    got = op.forward_cuda(frame, *rest, frame, "rgb", "bt601")
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": torch.zeros(1, 8, 8, 3)}, "frame_NHW3 must be contiguous uint8"),
        ({"face": torch.zeros(2, 3, 4, 4)}, "face_N3hw must be"),
        ({"mask": torch.zeros(4, 5)}, "mask_hw must be"),
        ({"matrices": torch.zeros(1, 3, 3)}, "crop_from_image_N23"),
        ({"colour": torch.zeros(1, 2, 3)}, "colour_N32 must be"),
        ({"pixels": "nv12"}, "even H and W"),
        ({"out": frames(1, 8, 6)}, "must hold"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, object], words: str) -> None:
    call = {"frame": frames(1, 8, 8), "face": torch.zeros(1, 3, 4, 4), "mask": torch.zeros(4, 4)}
    call |= {"matrices": torch.zeros(1, 2, 3), "colour": FULL_RANGE, "out": frames(1, 8, 8)} | change
    inputs = [call.pop(name) for name in ("frame", "face", "mask", "matrices", "colour")]
    with pytest.raises(ValueError, match=words):
        paste_back(*inputs, **call)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_kernel_agrees_with_the_reference(matrix: str, pixels: Pixels, dtype: torch.dtype, gpu: str) -> None:
    size = (37, 53) if pixels in ("rgb", "bgr") else (720, 1280)
    inputs = _inputs(matrix, size, dtype, gpu)
    want = paste_back(*inputs, out=_empty(pixels, size, gpu), pixels=pixels, impl="reference")
    got = paste_back(*inputs, out=_empty(pixels, size, gpu), pixels=pixels, impl="cuda")
    assert (got.int() - want.int()).abs().max() <= LIMIT


def _inputs(matrix: str, size: tuple[int, int], dtype: torch.dtype, device: str) -> tuple[torch.Tensor, ...]:
    """Two frames, faces in -1..1, and a colour match that differs per channel."""
    face = (2 * torch.rand(2, 3, 13, 17, generator=generator()) - 1).to(dtype)
    matrices = torch.stack([MATRICES[matrix], MATRICES[matrix] + torch.tensor([0, 0, 2.5])])
    colour = torch.tensor([[[127.5, 127.5], [140.0, 120.0], [90.0, 100.0]]]).repeat(2, 1, 1)
    inputs = (frames(2, *size), face, soft_mask(13, 17), matrices, colour)
    return tuple(tensor.to(device) for tensor in inputs)


def _empty(pixels: Pixels, size: tuple[int, int], device: str) -> torch.Tensor:
    """Two pictures to write into, filled so that an unwritten byte shows."""
    return (255 - frames(2, *size, pixels)).to(device)
