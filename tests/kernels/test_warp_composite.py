from __future__ import annotations

import pytest
import torch

from mimicam.kernels import warp_composite as op
from mimicam.kernels.warp_composite import NUMBERS, warp_composite
from tests.kernels.cases import frames, layered

# Limit: one grey level, where a blend lands on .5. No GPU has run it.
LIMIT = 1


def test_at_rest_it_is_the_portraits_picture() -> None:
    inputs = layered(size=(24, 40), still=True, visibility=1.0)
    out = warp_composite(*inputs, out=torch.zeros(2, 24, 40, 3, dtype=torch.uint8))
    margin = (inputs[0].shape[1] - 24) // 2
    assert torch.equal(out, inputs[0][:, margin : margin + 24, margin : margin + 40, :3])


def test_a_flow_of_one_pixel_moves_the_portrait_by_one() -> None:
    texture, background, inpaint, visibility, flow, numbers = layered(
        size=(24, 24), still=True, visibility=1.0
    )
    flow[:, 0] = 2 / 24  # one pixel of a crop of 24
    blank = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
    out = warp_composite(texture, background, inpaint, visibility, flow, numbers, out=blank)
    margin = (texture.shape[1] - 24) // 2
    want = texture[:, margin : margin + 24, margin + 1 : margin + 25, :3].int()
    assert (out.int() - want).abs().max() <= 1


def test_paint_shows_through_the_mask_and_never_beside_the_crop() -> None:
    texture, background, inpaint, _, flow, numbers = layered(size=(24, 40), still=True, visibility=0.0)
    inpaint[:] = 1.0
    closed = torch.zeros(2, 1, 12, 12)
    out = warp_composite(
        texture, background, inpaint, closed, flow, numbers, out=torch.zeros(2, 24, 40, 3, dtype=torch.uint8)
    )
    margin = (texture.shape[1] - 24) // 2
    assert (out[:, :, 14:26] == 255).all(), "the middle of the crop"
    beside = texture[:, margin : margin + 24, margin : margin + 8, :3]
    assert torch.equal(out[:, :, :8], beside)
    ramp = out[0, 12, 8:13, 0].float() - texture[0, margin + 12, margin + 8 : margin + 13, 0].float()
    assert ramp[0] < ramp[-1], "no seam at the crop's side"


def test_pixels_from_outside_the_crop_show_the_portrait() -> None:
    texture, background, inpaint, visibility, flow, numbers = layered(
        size=(24, 24), still=True, visibility=0.0
    )
    flow[:, 1] = -0.5  # everything comes from a quarter of the crop further up
    inpaint[:], visibility[:] = -1.0, 0.0
    blank = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
    out = warp_composite(texture, background, inpaint, visibility, flow, numbers, out=blank)
    margin = (texture.shape[1] - 24) // 2
    want = texture[:, margin - 6 : margin - 2, margin : margin + 24, :3].int()
    assert (out[:, :4].int() - want).abs().max() <= 1
    assert not out[:, 8:].any(), "and where it comes from inside, what the networks say"
    numbers[:, NUMBERS.index("top")] = -1.0  # the portrait ends where the crop does
    out = warp_composite(texture, background, inpaint, visibility, flow, numbers, out=out)
    assert not out.any()


def test_motion_fades_beside_the_crop() -> None:
    texture, background, inpaint, visibility, flow, numbers = layered(
        size=(24, 60), still=True, visibility=1.0
    )
    flow[:, 0] = 2 / 24 * 3
    out = warp_composite(
        texture,
        background,
        inpaint,
        visibility,
        flow,
        numbers,
        out=torch.zeros(2, 24, 60, 3, dtype=torch.uint8),
    )
    margin = (texture.shape[1] - 24) // 2
    rest = texture[:, margin : margin + 24, margin : margin + 60, :3]
    assert torch.equal(out[:, :, :11], rest[:, :, :11]), "a quarter of the crop's side away it rests"
    assert not torch.equal(out[:, :, 14:18], rest[:, :, 14:18])


def test_the_background_stays_still_and_is_not_painted_over() -> None:
    texture, background, inpaint, visibility, flow, numbers = layered(size=(24, 40))
    texture[:], visibility[:], inpaint[:] = 0, 0.0, 1.0
    out = warp_composite(
        texture,
        background,
        inpaint,
        visibility,
        flow,
        numbers,
        out=torch.zeros(2, 24, 40, 3, dtype=torch.uint8),
    )
    assert torch.equal(out, background)


def test_a_half_opaque_person_mixes_with_the_background() -> None:
    texture, background, inpaint, visibility, flow, numbers = layered(
        size=(24, 24), still=True, visibility=1.0
    )
    texture[:] = torch.tensor([51, 0, 102, 102], dtype=torch.uint8)  # premultiplied, 40 % opaque
    background[:] = torch.tensor([100, 200, 250], dtype=torch.uint8)
    out = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
    warp_composite(texture, background, inpaint, visibility, flow, numbers, out=out)
    assert (out == torch.tensor([51 + 60, 120, 102 + 150], dtype=torch.uint8)).all()


@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(dtype: torch.dtype, opaque: bool) -> None:
    size = (21, 38)
    inputs = layered(size=size, dtype=dtype, opaque=opaque)
    want = warp_composite(*inputs, out=_empty(size, "cpu"))
    got = op.forward_cuda(*inputs, _empty(size, "cpu"))
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_kernel_agrees_with_the_reference(dtype: torch.dtype, gpu: str) -> None:
    size = (720, 1280)
    inputs = [t.to(gpu) for t in layered(size=size, dtype=dtype, opaque=False)]
    want = warp_composite(*inputs, out=_empty(size, gpu), impl="reference")
    got = warp_composite(*inputs, out=_empty(size, gpu), impl="cuda")
    assert (got.int() - want.int()).abs().max() <= LIMIT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"texture": torch.zeros(1, 8, 8, 4)}, "texture_NKL4 must be contiguous uint8"),
        ({"texture": frames(1, 9, 9)}, "texture_NKL4 must be"),
        ({"background": frames(1, 8, 9)}, "background_NHW3 must be"),
        ({"inpaint": torch.zeros(1, 3, 8, 8, dtype=torch.float64)}, "inpaint_N3SS must be"),
        ({"inpaint": torch.zeros(2, 3, 8, 8)}, "inpaint_N3SS must be"),
        ({"visibility": torch.zeros(1, 1, 4, 8)}, "visibility_N1SS must be"),
        ({"flow": torch.zeros(1, 3, 4, 4)}, "flow_N2hh must be"),
        ({"flow": torch.zeros(1, 4, 4, 2).permute(0, 3, 1, 2)}, "flow_N2hh must be"),
        ({"numbers": torch.zeros(1, 4)}, "numbers_NP must be"),
        ({"inpaint": torch.zeros(1, 3, 8, 7)}, r"inpaint_N3SS must be .*\[1, 3, S, S\]"),
        ({"out": frames(2, 8, 8)}, r"out must be contiguous uint8 \[1, H, W, 3\]"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, object], words: str) -> None:
    call: dict[str, object] = {
        "texture": torch.zeros(1, 9, 9, 4, dtype=torch.uint8), "background": frames(1, 8, 8),
        "inpaint": torch.zeros(1, 3, 8, 8), "visibility": torch.zeros(1, 1, 8, 8),
        "flow": torch.zeros(1, 2, 4, 4), "numbers": torch.zeros(1, len(NUMBERS)), "out": frames(1, 8, 8),
    }  # fmt: skip
    call |= change
    inputs = [
        call.pop(name) for name in ("texture", "background", "inpaint", "visibility", "flow", "numbers")
    ]
    with pytest.raises(ValueError, match=words):
        warp_composite(*inputs, **call)  # type: ignore[arg-type]


def _empty(size: tuple[int, int], device: str) -> torch.Tensor:
    """Two pictures to write into, filled so that an unwritten byte shows."""
    return (255 - frames(2, *size)).to(device)
