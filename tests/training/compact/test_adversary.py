"""Discriminators as an optional last stage of the compact recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.spec import CompactConfig
from mimicam.training.compact import adversary as adversary_module
from mimicam.training.compact.adversary import Adversary, AdversaryOptions, Drawn, eyes, mouth
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe
from mimicam.training.data.pairs import FramePack, PairSampler
from mimicam.training.trainer import Trainer, TrainerOptions
from tests.training.packs import write_pack

SMALL = CompactConfig(size=32, latent=16, widths=(8, 8, 16, 16), embed=4)


@pytest.fixture(autouse=True)
def _narrow_discriminators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary_module, "_WIDTH", 16)
    monkeypatch.setattr(adversary_module, "_MOST", 64)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PairSampler:
    pack = FramePack(write_pack(tmp_path_factory.mktemp("pack")), validation=False)
    return PairSampler(pack, size=32, batch=4)


def _recipe(gan: float, parts: float = 0.0) -> CompactRecipe:
    torch.manual_seed(0)
    options = CompactOptions(gan=gan, gan_parts=parts, gan_warmup=2, steps=50, warmup=1)
    return CompactRecipe(options, config=SMALL)


POINTS = torch.zeros(8, 176, 3)
HEAD = torch.tensor([[0.0, 0.0, 0.4]]).repeat(8, 1)


def _adversary(*, weight: float, features: float, lr: float, warmup: int) -> Adversary:
    options = AdversaryOptions(weight=weight, features=features, lr=lr, warmup=warmup)
    return Adversary("picture", options, torch.device("cpu"))


def _drawn(image: Tensor) -> Drawn:
    return Drawn(image=image, points=POINTS[: len(image)], head=HEAD[: len(image)])


def _pictures(seed: int) -> tuple[Tensor, Tensor]:
    """Sharp ones and blurred ones."""
    random = torch.Generator().manual_seed(seed)
    real = torch.rand(4, 3, 32, 32, generator=random) * 2 - 1
    return real, torch.nn.functional.avg_pool2d(real, 5, 1, 2)


def test_the_discriminator_learns_to_tell_sharp_from_blurred() -> None:
    torch.manual_seed(0)
    adversary = _adversary(weight=0.1, features=1.0, lr=1e-3, warmup=0)
    real, fake = _pictures(0)
    losses = [float(adversary.update(_drawn(fake), real)) for _ in range(25)]
    assert losses[0] > 1.5
    assert losses[-1] < 0.5 * losses[0]
    unseen_real, unseen_fake = _pictures(1)
    with torch.no_grad():
        for sharp, soft in zip(
            adversary.discriminator(unseen_real), adversary.discriminator(unseen_fake), strict=True
        ):
            assert sharp.score.mean() > soft.score.mean()


@pytest.mark.slow
def test_its_gradient_sharpens_a_blurred_picture() -> None:
    torch.manual_seed(0)
    adversary = _adversary(weight=1.0, features=0.0, lr=1e-3, warmup=0)
    real, fake = _pictures(0)
    for _ in range(25):
        adversary.update(_drawn(fake), real)
    picture = fake.clone().requires_grad_()
    optimiser = torch.optim.Adam([picture], lr=0.02)
    for _ in range(10):
        optimiser.zero_grad()
        adversary.losses(_drawn(picture), real)["gan_picture"].backward()
        optimiser.step()

    def edges(x: Tensor) -> float:
        return float((x[..., 1:] - x[..., :-1]).abs().mean())

    assert edges(picture.detach()) > 1.1 * edges(fake)


def test_its_loss_is_ramped_in_after_the_warm_up() -> None:
    adversary = _adversary(weight=1.0, features=1.0, lr=1e-4, warmup=2)
    real, fake = _pictures(0)
    ramp = []
    for _ in range(5):
        ramp.append(adversary.gan_ramp())
        losses = adversary.losses(_drawn(fake), real)
        assert set(losses) == {"gan_picture", "features_picture"}
        assert (float(losses["features_picture"]) == 0.0) == (adversary.gan_ramp() == 0.0)
        adversary.update(_drawn(fake), real)
    assert ramp == [0.0, 0.0, 0.0, 0.5, 1.0]


def test_a_recipe_with_it_trains_both_sides(pairs: PairSampler) -> None:
    recipe = _recipe(0.05)
    before = {n: p.clone() for n, p in recipe.modules()["judge_picture"].named_parameters()}
    curves = [recipe.step(step, pairs.batch(step % 2)) for step in range(8)]
    assert {"gan_picture", "features_picture", "discriminator_picture"} <= curves[-1].keys()
    assert curves[-1]["l1"] < curves[0]["l1"]
    after = dict(recipe.modules()["judge_picture"].named_parameters())
    # Inside the hinge's margin the gradients of the score's bias cancel.
    still = [name for name, value in before.items() if torch.equal(after[name], value) and "bias" not in name]
    assert still == []
    assert all(p.requires_grad for p in after.values())


def test_without_it_nothing_changes(pairs: PairSampler) -> None:
    recipe = _recipe(0.0)
    assert set(recipe.modules()) == set(recipe.optimisers()) | {"average"} == {"model", "average"}
    assert (
        not {"gan_picture", "features_picture", "discriminator_picture"}
        & recipe.step(0, pairs.batch(0)).keys()
    )


def test_mouth_and_eyes_have_their_own_discriminators(pairs: PairSampler) -> None:
    recipe = _recipe(0.0, parts=0.05)
    curves = [recipe.step(step, pairs.batch(step % 2)) for step in range(5)]
    assert {"discriminator_mouth", "discriminator_eyes", "gan_mouth", "features_eyes"} <= curves[-1].keys()
    assert curves[0]["features_mouth"] == 0.0
    assert curves[-1]["features_mouth"] > 0.0
    assert "judge_picture" not in recipe.modules()


def test_parts_are_cut_out_where_the_landmarks_are() -> None:
    axis = (torch.arange(64) + 0.5) / 32 - 1
    image = torch.stack([axis.expand(64, 64), axis[:, None].expand(64, 64), torch.zeros(64, 64)])[None]
    points = torch.zeros(1, 176, 3)
    lips = [CONTROL.tolist().index(i) for i in (13, 14, 61, 291)]
    points[:, lips, :2] = torch.tensor([0.2, 0.3])
    cut = mouth(image, points, torch.tensor([[0.0, 0.0, 0.4]]))
    assert cut.shape == (1, 3, 64, 64)
    assert cut[0, :2].mean(dim=(1, 2)).tolist() == pytest.approx([0.2, 0.3], abs=1e-3)
    assert float(cut[0, 0].max() - cut[0, 0].min()) == pytest.approx(2 * 0.65 * 0.4, rel=0.05)
    right, left = eyes(image, points, torch.tensor([[0.0, 0.0, 0.4]]))
    assert torch.allclose(right[0], left[0].flip(-1), atol=1e-5), "left eyes are mirrored"


def _train(recipe: CompactRecipe, out: Path, pairs: PairSampler, steps: int) -> Trainer:
    trainer = Trainer(recipe, TrainerOptions(out=out, steps=steps))
    trainer.resume()
    trainer.run(pairs.stream)
    return trainer


def test_a_run_continues_with_a_discriminator_and_resumes(pairs: PairSampler, tmp_path: Path) -> None:
    _train(_recipe(0.0), tmp_path / "stage", pairs, 2)
    with_adversary = _recipe(0.05)
    assert _train(with_adversary, tmp_path / "stage", pairs, 4).step == 4
    straight = _recipe(0.05)
    _train(straight, tmp_path / "stage", pairs, 6)
    saved = {
        n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in with_adversary.modules().items()
    }
    for step in (4, 5):
        with_adversary.step(step, pairs.batch(step))
    for name, module in with_adversary.modules().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, straight.modules()[name].state_dict()[key]), f"{name}.{key}"
    assert int(saved["judge_picture"]["age"]) == 2


def test_a_checkpoint_that_lacks_the_model_itself_is_not_taken(pairs: PairSampler, tmp_path: Path) -> None:
    trainer = _train(_recipe(0.0), tmp_path, pairs, 1)
    state = torch.load(trainer.checkpoint, weights_only=True)
    del state["modules"]["model"]
    torch.save(state, trainer.checkpoint)
    with pytest.raises((KeyError, EngineError)):
        Trainer(_recipe(0.05), TrainerOptions(out=tmp_path, steps=2)).resume()


def test_cross_identity_results_get_the_adversarial_loss(pairs: PairSampler) -> None:
    recipe = _recipe(0.0, parts=0.05)
    batch = PairSampler(pairs._pack, size=32, batch=4, cross_identity=2).batch(0)
    for step in range(4):
        curve = recipe.step(step, batch)
    assert curve["gan_mouth"] != 0.0
    assert "cross_identity" not in curve, "nothing says where the landmarks are without the network"


def test_cross_identity_results_count_by_their_number() -> None:
    torch.manual_seed(0)
    adversary = _adversary(weight=1.0, features=0.0, lr=1e-3, warmup=0)
    real, fake = _pictures(0)
    few = Drawn(image=real[:1], points=POINTS[:1], head=HEAD[:1])
    alone, both = (float(adversary.losses(_drawn(fake), real, s)["gan_picture"]) for s in (None, few))
    other = float(adversary.losses(_drawn(real[:1]), real[:1])["gan_picture"])
    assert both == pytest.approx(0.8 * alone + 0.2 * other, abs=2e-3)
    losses = [float(adversary.update(_drawn(fake), real, few)) for _ in range(10)]
    assert losses[-1] < losses[0], "though one of the fakes is a real picture"
