from __future__ import annotations

import pytest
import torch

from mimicam.kernels import upsample_blur as op
from mimicam.kernels.upsample_blur import upsample_blur
from tests.kernels.cases import apart, generator

# Largest error seen, emulated on x86-64, 2026-11: 1.1e-7 in float32, none in float16. A GPU may round another
# way once, half a unit in the last place: 4.9e-4.
LIMIT = {torch.float32: 1e-6, torch.float16: 1e-3}
SHAPES = [(1, 3, 4, 4), (2, 3, 9, 33), (1, 2, 1, 1), (3, 1, 17, 5)]


def test_one_pixel_spreads_by_the_published_kernel() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 16
    line = torch.tensor([0.0, 1, 3, 3, 1, 0])
    assert torch.equal(upsample_blur(image)[0, 0], torch.outer(line, line))


def test_a_constant_keeps_its_value_inside_the_border() -> None:
    out = upsample_blur(torch.ones(1, 1, 4, 4))[0, 0]
    assert torch.allclose(out[1:-1, 1:-1], torch.ones(6, 6))
    assert torch.allclose(out[0, 1:-1], torch.full((6,), 0.75))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype, adds: bool
) -> None:
    image, add = _tensors(shape, dtype, adds, "cpu")
    got = op.forward_cuda(image, add, torch.full(_doubled(shape), torch.nan, dtype=dtype))
    assert apart(got, op.reference(image, add)) <= LIMIT[dtype]


@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_may_add_in_place() -> None:
    image, add = _tensors((1, 2, 5, 6), torch.float32, True, "cpu")
    want = op.reference(image, add)
    assert add is not None
    assert apart(op.forward_cuda(image, add, add), want) <= LIMIT[torch.float32]


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (torch.zeros(1, 2, 4), {}, "image_NChw must be contiguous"),
        (torch.zeros(1, 2, 4, 4, dtype=torch.float64), {}, "float32 or float16"),
        (torch.zeros(1, 2, 4, 4), {"add_NCHW": torch.zeros(1, 2, 4, 4)}, "add_NCHW must be"),
        (torch.zeros(1, 2, 4, 4), {"out": torch.zeros(1, 2, 8, 8).half()}, "out must be"),
        (torch.zeros(1, 2, 4, 4), {"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(image: torch.Tensor, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        upsample_blur(image, **options)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 3, 128, 128)], ids=str)
def test_kernel_agrees_with_the_reference(shape: tuple[int, ...], dtype: torch.dtype, gpu: str) -> None:
    image, add = _tensors(shape, dtype, True, gpu)
    got = upsample_blur(image, add_NCHW=add, impl="cuda")
    assert apart(got, op.reference(image, add)) <= LIMIT[dtype]


def _doubled(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], 2 * shape[2], 2 * shape[3])


def _tensors(
    shape: tuple[int, ...], dtype: torch.dtype, adds: bool, device: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    rng = generator()
    image = torch.randn(shape, generator=rng).to(device, dtype)
    add = torch.randn(_doubled(shape), generator=rng).to(device, dtype)
    return image, add if adds else None
