"""The forms for the GPU against the folded networks, on a CPU."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

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
    """With small flows, as trained weights have: fresh ones fold the picture, and any rounding becomes a jump."""
    torch.manual_seed(5)
    model = Dpe(DEBUG)
    with torch.no_grad():
        for level in (*model.expression_generator.levels, *model.pose_generator.levels):
            level.flow.conv.weight.mul_(0.05)
    return FoldedDpe(model)


@pytest.fixture(scope="module")
def inputs(folded: FoldedDpe) -> dict[str, tuple[Tensor, ...]]:
    """Two pictures at once; the generators get what the encoder makes of them."""
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
    assert 1e-6 < worst <= 1e-2, worst  # seen: 5.6e-3, x86-64, 2026-11


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


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_blur_is_the_published_one(fused: bool, stride: int) -> None:
    x = torch.randn(2, 3, 9, 12)
    published = layers.Blur(3, padding=2, gain=4.0)
    want = published(x)[:, :, ::stride, ::stride]
    got = mixed_parts.blur(x, published.kernel, 2, gain=4.0, stride=stride, fused=fused)
    assert torch.allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("form", [Form(), Form(fused=True), Form(portable=True)], ids=str)
def test_doubling_is_the_published_one(form: Form) -> None:
    x, add = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 10, 14)
    assert torch.allclose(mixed_parts.Double(form)(x, add), add + layers.Upsample(3)(x), atol=1e-5)


def _worst(folded: FoldedDpe, model: MixedDpe, network: str, inputs: dict[str, tuple[Tensor, ...]]) -> float:
    with torch.no_grad():
        want = folded.get_submodule(network)(*inputs[network])
        got = model.get_submodule(network)(*inputs[network])
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else ((got, want),)
    return max(float((g.float() - w).abs().max() / w.abs().max()) for g, w in pairs)
