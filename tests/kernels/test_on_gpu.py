"""What compute-sanitizer runs, rehearsed on the processor: it covers every kernel, and notices one that is wrong."""

from __future__ import annotations

import pytest
import torch

from mimicam.kernels import _launch, upsample_blur
from tests.kernels import on_gpu


def test_every_op_is_checked_and_agrees_with_itself() -> None:
    assert tuple(on_gpu.CHECKS) == _launch.OPS
    assert on_gpu.main([], device="cpu") == 0


def test_a_kernel_that_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = upsample_blur.upsample_blur
    monkeypatch.setattr(upsample_blur, "upsample_blur", lambda *a, **k: right(*a, **k) + 0.01)
    assert on_gpu.main(["upsample_blur"], device="cpu") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_it_says_so() -> None:
    assert on_gpu.main([]) == on_gpu.NOT_HERE
