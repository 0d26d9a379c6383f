from __future__ import annotations

import pytest
import torch

from mimicam.kernels import torch_ops
from mimicam.kernels.warp_blend import reference
from tests.kernels.cases import Warp, apart

CASES = [
    Warp(N=2, C=3, map_size=(5, 6), size=(7, 4)),
    Warp(N=1, C=8, map_size=(6, 6), size=(6, 6), dtype=torch.float16, packed=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_torch_finds_no_fault_in_the_operator(case: Warp) -> None:
    wanted = case.dtype is torch.float32
    inputs = tuple(tensor.requires_grad_(wanted) for tensor in case.tensors())
    torch.library.opcheck(torch_ops.warp_blend_op, inputs)


def test_its_gradients_are_the_references() -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in CASES[0].tensors())
    got = torch.autograd.grad(sum(t.square().sum() for t in torch_ops.warp_blend_op(*inputs)), inputs)
    want = torch.autograd.grad(sum(t.square().sum() for t in reference(*inputs)), inputs)
    assert max(map(apart, got, want)) <= 1e-6


def test_an_exported_graph_shows_one_node() -> None:
    class Layer(torch.nn.Module):
        def forward(
            self, feature: torch.Tensor, activation: torch.Tensor, flow: torch.Tensor
        ) -> torch.Tensor:
            return torch.ops.mimicam.warp_blend(feature, activation, flow)[1]

    program = torch.export.export(Layer(), CASES[0].tensors())
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "mimicam.warp_blend.default" in calls
    assert not any("grid_sampler" in call for call in calls)


@pytest.mark.gpu
def test_the_operators_gradients_on_a_gpu_are_the_references(gpu: str) -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in CASES[0].tensors(gpu))
    got = torch.autograd.grad(sum(t.square().sum() for t in torch_ops.warp_blend_op(*inputs)), inputs)
    want = torch.autograd.grad(sum(t.square().sum() for t in reference(*inputs)), inputs)
    assert max(map(apart, got, want)) <= 1e-4
