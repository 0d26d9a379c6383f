"""The emulation itself: does it catch what it is there to catch?"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.kernels import _launch, blur, crop_normalize, upsample_blur, warp_blend
from tests.kernels import emulation
from tests.kernels.cases import BLURS, Warp, affine, apart, frames

_ROOT = Path(__file__).parents[2]
_RUNTIMES = ("libasan.so", "libubsan.so")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kernel under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _build(tmp_path_factory.mktemp("sanitized"), flags=emulation.SANITIZERS)


def test_no_kernel_leaves_its_buffers_or_its_types(sanitized: Path) -> None:
    done = _run_sanitized(sanitized, ",".join(emulation.ORDERS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(_launch.OPS) * len(emulation.ORDERS), done.stdout


@pytest.mark.parametrize(
    ("op", "right", "wrong"),
    [
        ("warp_blend", "cx >= 0 && cx < w", "cx >= 0 && cx <= w"),
        ("upsample_blur", "if (x >= w || y >= h) return;", "if (x > w || y > h) return;"),
        ("blur", "left == 0", "left < 0"),
    ],
)
def test_a_planted_off_by_one_is_caught(tmp_path: Path, op: str, right: str, wrong: str) -> None:
    library = _build(tmp_path, flags=emulation.SANITIZERS, edit=partial(_swap, op, right, wrong), ops=(op,))
    done = _run_sanitized(library, "ascending", op)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr, done.stderr


def test_a_missing_barrier_is_caught_in_the_upsampling(tmp_path: Path) -> None:
    image = torch.rand(1, 2, 9, 33)
    library = _build(
        tmp_path, ops=("upsample_blur",), edit=partial(_swap, "upsample_blur", "__syncthreads();", "")
    )
    for order in emulation.ORDERS:
        with emulation.on_cpu(library, order):
            got = upsample_blur.forward_cuda(image, None, torch.empty(1, 2, 18, 66))
        with pytest.raises(AssertionError, match="not finite"):
            apart(got, upsample_blur.reference(image))


def test_a_missing_barrier_is_caught_in_the_backward_pass(tmp_path: Path) -> None:
    inputs = Warp(N=1, C=16, map_size=(6, 6), size=(6, 6)).tensors()
    library = _build(tmp_path, ops=("warp_blend",), edit=partial(_swap, "warp_blend", "__syncthreads();", ""))
    with emulation.on_cpu(library):
        grads = warp_blend.backward_cuda(*inputs, torch.ones_like(inputs[1]), torch.ones_like(inputs[1]))
    with pytest.raises(AssertionError, match="not finite"):
        apart(grads[2], grads[2])


def test_a_barrier_that_some_threads_skip_is_an_error(tmp_path: Path) -> None:
    early = partial(
        _swap, "upsample_blur", "__syncthreads();", "if (left + threadIdx.x >= w) return; __syncthreads();"
    )
    library = _build(tmp_path, ops=("upsample_blur",), edit=early)
    with emulation.on_cpu(library), pytest.raises(RuntimeError, match="not reached by every thread"):
        upsample_blur.forward_cuda(torch.rand(1, 1, 3, 3), None, torch.empty(1, 1, 6, 6))


def test_a_wrong_sampling_convention_is_caught(tmp_path: Path) -> None:
    inputs = Warp(N=1, C=3, map_size=(8, 8), size=(8, 8)).tensors()
    aligned = partial(_swap, "warp_blend", "* (float)w - 1.f) * .5f", "* (float)(w - 1)) * .5f")
    with emulation.on_cpu(_build(tmp_path, ops=("warp_blend",), edit=aligned)):
        got = warp_blend.forward_cuda(*inputs, (torch.zeros_like(inputs[1]), torch.zeros_like(inputs[1])))
    assert apart(got[0], warp_blend.reference(*inputs)[0]) > 0.01


def test_a_window_that_does_not_slide_is_caught(tmp_path: Path) -> None:
    case, edit = BLURS[2], partial(_swap, "blur", "before[k] = sum;", "before[k] = above;")
    image = case.tensor()
    with emulation.on_cpu(_build(tmp_path, ops=("blur",), edit=edit)):
        got = blur.forward_cuda(image, **case.options, out=case.unwritten(image))
    assert apart(got, blur.reference(image, **case.options)) > 0.01


def test_arguments_in_the_wrong_order_are_caught(emulator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = (frames(1, 14, 18), affine(1.3, 10, (1, 2))[None])
    want = crop_normalize.crop_normalize(*call, out=torch.empty(1, 3, 7, 9))
    launch = _launch.launch
    swapped = lambda *values: launch(*values[:7], values[8], values[7], *values[9:])  # noqa: E731
    with emulation.on_cpu(emulator):
        monkeypatch.setattr(_launch, "launch", swapped)
        got = crop_normalize.forward_cuda(*call, torch.zeros(1, 3, 7, 9), 2 / 255, -1.0)
    assert apart(got, want) > 0.01


def test_half_precision_rounds_as_numpy_does(emulator: Path) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits.view(np.float16)
    rng = np.random.default_rng(0)
    floats = np.concatenate(
        [rng.standard_normal(4000) * 10.0 ** rng.integers(-9, 6, 4000), [65519.99, 65520, 0, -0.0]]
    )
    with emulation.on_cpu(emulator) as cuda, np.errstate(over="ignore"):
        cuda.emulation_half_to_float.restype = ctypes.c_float
        cuda.emulation_float_to_half.argtypes = [ctypes.c_float]
        cuda.emulation_float_to_half.restype = ctypes.c_ushort
        widened = np.array([cuda.emulation_half_to_float(int(b)) for b in bits[::7]], np.float32)
        narrowed = np.array([cuda.emulation_float_to_half(float(np.float32(v))) for v in floats], np.uint16)
        assert np.array_equal(widened, halves[::7].astype(np.float32), equal_nan=True)
        assert np.array_equal(narrowed, floats.astype(np.float32).astype(np.float16).view(np.uint16))


def _swap(op: str, right: str, wrong: str, text: str) -> str:
    """Plant an error in one op's source; the others stay as they are."""
    if f'#line 1 "{op}.cu"' not in text:
        return text
    assert right in text, f"{op}.cu no longer says {right!r}; plant the error somewhere else"
    return text.replace(right, wrong)


def _build(folder: Path, **options: object) -> Path:
    if reason := emulation.missing():
        pytest.skip(reason)
    return emulation.build(folder, **options)


def _run_sanitized(library: Path, order: str, *ops: str) -> subprocess.CompletedProcess[str]:
    """AddressSanitizer must come first into the process, so Python starts under it."""
    found = [
        subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip() for name in _RUNTIMES
    ]
    if not all(map(os.path.isabs, found)):
        pytest.skip("this g++ has no libasan and libubsan")
    environment = os.environ | {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", "tests.kernels.emulation", str(library), order, *ops]
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
