from __future__ import annotations

import math

import pytest
import torch

from mimicam.kernels import warp_blend as op
from mimicam.kernels.warp_blend import warp_blend
from tests.kernels.cases import WARPS, Warp, apart, share_apart

# Largest error seen against the reference, as a share of the largest value, emulated on x86-64, 2026-11, all
# three orders: forward 2e-6 in float32 and 4e-6 in float16, backward 2e-6 and 4.5e-4. A GPU may round a half
# the other way (4.9e-4) and its tanh and exp differ by two units in the last place. No GPU has run these yet.
LIMIT = {torch.float32: 2e-5, torch.float16: 1e-3}
LARGE = [
    Warp(N=1, C=64, map_size=(256, 256), size=(256, 256)),
    Warp(N=1, C=64, map_size=(256, 256), size=(256, 256), dtype=torch.float16, packed=True),
]
BACKWARD_LIMIT = {torch.float32: 1e-4, torch.float16: 1e-3}


def test_zero_flow_reproduces_the_published_grid() -> None:
    feature = torch.arange(4.0).reshape(1, 1, 1, 4)
    flow = torch.zeros(1, 3, 1, 4)
    flow[:, 2] = 40  # the mask is 1
    flow[:, 1] = math.atanh(0.99)  # size 1: the row's centre lies at -1 + 0.99, half a pixel up is 0 again
    warped, _ = warp_blend(feature, torch.zeros(1, 1, 1, 4), flow)
    # Columns land at ((linspace + 1) * 4 - 1) / 2 = -0.5, 0.8333, 2.1667, 3.5; outside the map counts as
    # zero.
    row_weight = 1 - abs(((-1 + 0.99 + 1) * 1 - 1) / 2)
    want = torch.tensor([0.0, 0.83333, 2.16667, 1.5]) * row_weight
    assert torch.allclose(warped.flatten(), want, atol=1e-4)


def test_closed_mask_leaves_the_activation() -> None:
    feature, activation, flow = Warp(N=1, C=3, map_size=(6, 5), size=(6, 5)).tensors()
    flow[:, 2] = -100
    warped, blended = warp_blend(feature, activation, flow)
    assert torch.equal(blended, activation)
    assert not warped.any()


def test_far_flow_samples_nothing() -> None:
    feature, activation, flow = Warp(N=1, C=2, map_size=(4, 4), size=(4, 4)).tensors()
    flow[:, 0], flow[:, 2] = 20, 0
    warped, blended = warp_blend(feature, activation, flow)
    assert not warped[..., 2:].any(), "columns pushed by a whole picture width must fall outside"
    assert torch.allclose(blended[..., 2:], activation[..., 2:] / 2)


@pytest.mark.parametrize("case", WARPS, ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(case: Warp) -> None:
    inputs = case.tensors()
    out = tuple(torch.full_like(inputs[1], torch.nan) for _ in range(2))
    for got, want in zip(op.forward_cuda(*inputs, out), op.reference(*inputs), strict=True):
        assert apart(got, want) <= LIMIT[case.dtype]


@pytest.mark.parametrize("case", [case for case in WARPS if case.packed], ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_where_threads_take_two_packs(
    case: Warp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op, "_WAVE", 1)
    inputs = case.tensors()
    out = tuple(torch.full_like(inputs[1], torch.nan) for _ in range(2))
    for got, want in zip(op.forward_cuda(*inputs, out), op.reference(*inputs), strict=True):
        assert apart(got, want) <= LIMIT[case.dtype]


def test_threads_take_two_packs_on_large_maps_with_an_even_number() -> None:
    levels = ((8, 512), (16, 512), (32, 512), (64, 256), (128, 128), (256, 64))
    assert [op._packs_per_thread(C // 8, side * side) for side, C in levels] == [1, 1, 1, 2, 2, 2]
    assert op._packs_per_thread(3, 256 * 256) == 1


@pytest.mark.parametrize("case", WARPS, ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_gradients_agree_with_autograd(case: Warp) -> None:
    inputs = case.tensors()
    upstream = tuple(torch.randn_like(inputs[1]) for _ in range(2))
    want = _autograd(inputs, upstream)
    for got, wanted in zip(op.backward_cuda(*inputs, *upstream), want, strict=True):
        assert apart(got, wanted) <= BACKWARD_LIMIT[case.dtype]


@pytest.mark.usefixtures("on_cpu")
def test_autograd_reaches_the_emulated_kernel() -> None:
    inputs = tuple(t.requires_grad_() for t in Warp(N=1, C=4, map_size=(5, 6), size=(5, 6)).tensors())
    warped, blended = op._WarpBlend.apply(*inputs)
    got = torch.autograd.grad((warped.square() + blended).sum(), inputs)
    warped, blended = op.reference(*inputs)
    want = torch.autograd.grad((warped.square() + blended).sum(), inputs)
    assert max(map(apart, got, want)) <= BACKWARD_LIMIT[torch.float32]


def test_out_receives_both_results_and_is_returned() -> None:
    inputs = Warp(N=1, C=2, map_size=(3, 3), size=(3, 3)).tensors()
    out = (torch.empty(1, 2, 3, 3), torch.empty(1, 2, 3, 3))
    got = warp_blend(*inputs, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    assert all(map(torch.equal, out, warp_blend(*inputs)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": torch.zeros(1, 3, 4, 4)}, "must share N, C"),
        ({"flow": torch.zeros(1, 2, 4, 4)}, "flow_N3HW must be"),
        ({"flow": torch.zeros(1, 3, 4, 4).half()}, "contiguous float32"),
        ({"feature": torch.zeros(1, 2, 4, 4).half()}, "both float32 or both float16"),
        ({"feature": torch.zeros(1, 2, 8, 4)[:, :, ::2]}, "channels_last"),
        ({"out": (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))}, "out must be two"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
        ({"impl": "fast"}, "impl must be"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, object], words: str) -> None:
    call = {
        "feature": torch.zeros(1, 2, 4, 4),
        "activation": torch.zeros(1, 2, 4, 4),
        "flow": torch.zeros(1, 3, 4, 4),
    }
    call |= change
    feature, activation, flow = (call.pop(name) for name in ("feature", "activation", "flow"))
    with pytest.raises(ValueError, match=words):
        warp_blend(feature, activation, flow, **call)


def test_out_with_gradients_wanted_is_refused() -> None:
    feature, activation, flow = Warp(N=1, C=2, map_size=(3, 3), size=(3, 3)).tensors()
    with pytest.raises(ValueError, match="out= cannot be differentiated"):
        warp_blend(feature.requires_grad_(), activation, flow, out=(activation, activation))


@pytest.mark.gpu
@pytest.mark.parametrize("case", [*WARPS, *LARGE], ids=str)
def test_kernel_agrees_with_the_reference(case: Warp, gpu: str) -> None:
    inputs = case.tensors(gpu)
    upstream = tuple(torch.randn_like(inputs[1]) for _ in range(2))
    for got, want in zip(warp_blend(*inputs, impl="cuda"), op.reference(*inputs), strict=True):
        assert apart(got, want) <= LIMIT[case.dtype]
    # Gradients jump where a sample falls on a pixel: one rounding may put it on the other side.
    for got, want in zip(op.backward_cuda(*inputs, *upstream), _autograd(inputs, upstream), strict=True):
        assert share_apart(got, want, BACKWARD_LIMIT[case.dtype]) <= 1e-4


@pytest.mark.gpu
def test_a_captured_graph_replays_the_kernel_on_new_values(gpu: str) -> None:
    feature, activation, flow = Warp(N=1, C=8, map_size=(16, 16), size=(16, 16)).tensors(gpu)
    out = (torch.empty_like(activation), torch.empty_like(activation))
    warp_blend(feature, activation, flow, out=out)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        warp_blend(feature, activation, flow, out=out)
    flow.mul_(0.5)
    graph.replay()
    torch.cuda.synchronize()
    assert apart(out[0], op.reference(feature, activation, flow)[0]) <= LIMIT[torch.float32]


def _autograd(
    inputs: tuple[torch.Tensor, ...], upstream: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """The reference's gradients in float32, from the same rounded inputs."""
    leaves = tuple(tensor.detach().float().requires_grad_() for tensor in inputs)
    return torch.autograd.grad(op.reference(*leaves), leaves, tuple(grad.float() for grad in upstream))
