"""Precision forms for the GPU against the folded networks, on a CPU."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from mimicam.engine.models.dpe import half as mixed  # noqa: E402
from mimicam.engine.models.dpe import half_parts as mixed_parts  # noqa: E402
from mimicam.engine.models.dpe import stylegan2 as layers  # noqa: E402
from mimicam.engine.models.dpe.config import DEBUG  # noqa: E402
from mimicam.engine.models.dpe.folded import FoldedDpe  # noqa: E402
from mimicam.engine.models.dpe.half import MixedDpe  # noqa: E402
from mimicam.engine.models.dpe.half_parts import Form  # noqa: E402
from mimicam.engine.models.dpe.network import Dpe  # noqa: E402

NETWORKS = ("encoder", "motion_encoder", "expression_generator", "pose_generator")
FORMS = [Form(dtype=torch.float32, fused=a, fold=b) for a, b in itertools.product((False, True), repeat=2)]


@pytest.fixture(scope="module")
def folded() -> FoldedDpe:
    """Networks with small flows, as trained weights have.

    Fresh weights fold the picture, so that any rounding becomes a jump.
    """
    torch.manual_seed(5)
    model = Dpe(DEBUG)
    with torch.no_grad():
        for level in (*model.expression_generator.levels, *model.pose_generator.levels):
            level.flow.conv.weight.mul_(0.05)
    return FoldedDpe(model)


@pytest.fixture(scope="module")
def inputs(folded: FoldedDpe) -> dict[str, tuple[Tensor, ...]]:
    """Return inputs of two pictures; the generators get the encoder's outputs."""
    image = torch.rand(2, 3, DEBUG.size, DEBUG.size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        latent, expression, pose, *maps = folded.encoder(image)
    return {
        "encoder": (image,),
        "motion_encoder": (image,),
        "expression_generator": (latent + expression, *maps),
        "pose_generator": (latent + pose, *maps),
    }


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"fused={form.fused} fold={form.fold}")
def test_every_form_is_the_folded_network(
    network: str, form: Form, folded: FoldedDpe, inputs: dict[str, tuple[Tensor, ...]]
) -> None:
    assert _worst(folded, MixedDpe(folded, form), network, inputs) <= 2e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_stays_near(
    network: str, folded: FoldedDpe, inputs: dict[str, tuple[Tensor, ...]]
) -> None:
    worst = _worst(folded, MixedDpe(folded, Form()), network, inputs)
    assert 1e-6 < worst <= 1e-2, worst  # measured: 5.6e-3, x86-64, 2026-11


def test_channels_last_is_the_same_picture(folded: FoldedDpe, inputs: dict[str, tuple[Tensor, ...]]) -> None:
    model = MixedDpe(folded, Form(dtype=torch.float32)).to(memory_format=torch.channels_last)
    latent, *maps = inputs["expression_generator"]
    moved = (latent, *(m.contiguous(memory_format=torch.channels_last) for m in maps))
    assert _worst(folded, model, "expression_generator", inputs | {"expression_generator": moved}) <= 2e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_a_layer_that_is_kept_computes_in_single(network: str, folded: FoldedDpe) -> None:
    names = mixed.layer_names(folded.get_submodule(network))
    assert len(set(names)) == len(names) > 3
    whole = mixed.mixed(folded.get_submodule(network), Form(keep=frozenset(names)))
    convolutions = [m for m in whole.modules() if isinstance(m, mixed.MixedConv | mixed.MixedStyledConv)]
    assert convolutions
    assert all(conv.weight.dtype is torch.float32 for conv in convolutions)
    one = mixed.mixed(folded.get_submodule(network), Form(keep=frozenset(names[:1])))
    kinds = {m.weight.dtype for m in one.modules() if isinstance(m, mixed.MixedConv | mixed.MixedStyledConv)}
    assert kinds == {torch.float16, torch.float32}


def test_a_network_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="folded DPE"):
        mixed.mixed(nn.Linear(1, 1), Form())


@pytest.mark.parametrize("structure", [{}, {"fused": True}, {"portable": True}], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_blur_is_the_published_one(structure: dict[str, bool], stride: int) -> None:
    x, form = torch.randn(2, 3, 9, 12), Form(dtype=torch.float32, **structure)
    published = layers.Blur(3, padding=2, gain=4.0)
    got = mixed_parts.Blur(published, form, stride=stride)(x)
    assert torch.allclose(got, published(x)[:, :, ::stride, ::stride], atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("form", "own"), [(Form(), True), (Form(fused=True), False), (Form(portable=True), False)], ids=str
)
def test_the_blurs_kernel_runs_only_where_nothing_else_fuses_it(
    network: str, form: Form, own: bool, folded: FoldedDpe, inputs: dict[str, tuple[Tensor, ...]]
) -> None:
    module = mixed.mixed(folded.get_submodule(network), form)
    with torch.no_grad(), _Calls() as calls:
        module(*inputs[network])
    assert ("mimicam::blur" in calls.seen) == own


@pytest.mark.parametrize("form", [Form(), Form(fused=True), Form(portable=True)], ids=str)
def test_doubling_is_the_published_one(form: Form) -> None:
    x, add = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 10, 14)
    assert torch.allclose(mixed_parts.Double(form)(x, add), add + layers.Upsample(3)(x), atol=1e-5)


class _Calls(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.name())
        return func(*args, **(kwargs or {}))


def _worst(folded: FoldedDpe, model: MixedDpe, network: str, inputs: dict[str, tuple[Tensor, ...]]) -> float:
    with torch.no_grad():
        want = folded.get_submodule(network)(*inputs[network])
        got = model.get_submodule(network)(*inputs[network])
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else ((got, want),)
    return max(float((g.float() - w).abs().max() / w.abs().max()) for g, w in pairs)
