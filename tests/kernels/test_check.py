"""What a kernel's argument checks accept, and what they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mimicam.kernels._check import FLOATS, Shape, check, check_limits


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        (torch.zeros(2, 3, 5, 7), (2, 3, "h", "w")),
        (torch.zeros(4, 4).half(), ("S", "S")),
        (torch.zeros(3), (3,)),
    ],
)
def test_a_fitting_tensor_is_accepted(tensor: Tensor, shape: Shape) -> None:
    check("x", tensor, shape, FLOATS, device=tensor.device)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (
            torch.zeros(2, 5, 5),
            r"x must be contiguous float32 or float16 \[3, S, S\], got float32 \[2, 5, 5\]",
        ),
        (torch.zeros(3, 5, 6), r"got float32 \[3, 5, 6\]"),
        (torch.zeros(3, 0, 0), r"got float32 \[3, 0, 0\]"),
        (torch.zeros(3, 5), r"got float32 \[3, 5\]"),
        (torch.zeros(3, 5, 5, 1), r"got float32 \[3, 5, 5, 1\]"),
        (torch.zeros(3, 5, 5).double(), r"got float64 \[3, 5, 5\]"),
        (torch.zeros(3, 5, 5).transpose(0, 1)[:3, :, :3].transpose(1, 2), "not contiguous"),
    ],
)
def test_a_misfit_is_refused_with_what_is_wanted(tensor: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check("x", tensor, (3, "S", "S"), FLOATS)


def test_a_tensor_on_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match="x lies on cpu, the other tensors on meta"):
        check("x", torch.zeros(3), (3,), torch.float32, device=torch.device("meta"))


def test_what_a_kernel_cannot_index_is_refused() -> None:
    check_limits("x", blocks=65535, values=2**31 - 1)
    with pytest.raises(ValueError, match="x is too large for the kernel"):
        check_limits("x", blocks=65536, values=1)
    with pytest.raises(ValueError, match="x is too large for the kernel"):
        check_limits("x", values=2**31)
