"""The paper's equations 8 to 12 by hand-made numbers, and where their gradients go."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.dpe.config import DpeConfig
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.types import Mode
from mimicam.training.dpe import losses
from mimicam.training.dpe.cyclic import Cycle, run_cycle
from mimicam.training.dpe.discriminator import Discriminator, spread_channel
from tests.training.random_features import RandomFace, RandomFeatures

PLACE = torch.zeros(1, 478, 3)


def level(value: float) -> Tensor:
    return torch.full((1, 3, 4, 4), value)


@pytest.fixture
def cycle() -> Cycle:
    """Flat pictures, so that every distance is a difference of two numbers."""
    return Cycle(
        source=level(0.0),
        driving=level(1.0),
        source_1=level(0.5),
        source_2=level(0.9),
        driving_1=level(0.2),
        driving_2=level(0.05),
        self_expression=level(0.003),
        self_pose=level(0.007),
    )


@pytest.fixture
def model(tiny: DpeConfig) -> Dpe:
    torch.manual_seed(0)
    return Dpe(tiny)


def without_gradient(module: nn.Module) -> bool:
    return all(p.grad is None or not p.grad.any() for p in module.parameters())


def test_equation_8_adds_the_three_pairs(cycle: Cycle) -> None:
    assert losses.reconstruction_loss(cycle).item() == pytest.approx(0.1 + 0.05 + 0.3)


def test_equation_9_adds_both_self_reconstructions(cycle: Cycle) -> None:
    got = losses.perceptual_loss(cycle, F.l1_loss).item()
    assert got == pytest.approx(0.1 + 0.05 + 0.3 + 0.003 + 0.007)


def test_equation_10_compares_both_intermediates_with_the_driver(cycle: Cycle) -> None:
    got = losses.expression_loss(cycle, lambda x, _: 10 * x.mean((1, 2, 3)), PLACE, PLACE)
    assert got.item() == pytest.approx(10 * (0.5 + 0.8), rel=1e-5)


def test_equation_10_looks_for_both_intermediates_where_the_source_is(cycle: Cycle) -> None:
    read = []
    losses.expression_loss(
        cycle, lambda x, place: read.append((x, place)) or x.mean((1, 2, 3)), PLACE, PLACE + 1
    )
    wanted = [(cycle.driving, PLACE + 1), (cycle.source_1, PLACE), (cycle.driving_1, PLACE)]
    for got, want in zip(read, wanted, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_equation_11_scores_both_ends(cycle: Cycle) -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3))

    want = math.log1p(math.exp(-0.9)) + math.log1p(math.exp(-0.05))
    assert losses.adversarial_loss(cycle, Mean()).item() == pytest.approx(want, rel=1e-5)
    other_side = losses.discriminator_loss(Mean(), [cycle.driving], [cycle.driving_2]).item()
    assert other_side == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(0.05)), rel=1e-5)


def test_equation_12_weighs_with_the_papers_numbers() -> None:
    terms = {"reconstruction": 1.0, "perceptual": 0.1, "expression": 0.01, "adversarial": 5.0}
    total = losses.total_loss({k: torch.tensor(v) for k, v in terms.items()}, losses.LossWeights())
    assert total.item() == pytest.approx(1 + 20 * 0.1 + 20 * 0.01 + 5)


def test_the_cycle_is_made_of_the_models_own_edits(model: Dpe, batch: dict[str, Tensor]) -> None:
    s, d = batch["source"], batch["target"]
    with torch.no_grad():
        cycle = run_cycle(model, s, d)
        want = replace(
            cycle,
            source_1=model.edit(s, d, Mode.EXP),
            source_2=model.edit(s, d, Mode.BOTH),
            driving_1=model.edit(d, s, Mode.POSE),
            driving_2=model.edit(model.edit(d, s, Mode.POSE), s, Mode.EXP),
            self_expression=model.edit(s, s, Mode.EXP),
            self_pose=model.edit(s, s, Mode.POSE),
        )
    for name in Cycle.__dataclass_fields__:
        torch.testing.assert_close(getattr(cycle, name), getattr(want, name), msg=name)


@pytest.mark.parametrize("distance", [F.l1_loss, RandomFeatures()], ids=["reconstruction", "perceptual"])
def test_the_intermediate_pair_teaches_no_pose_generator(
    distance: losses.Distance, model: Dpe, batch: dict[str, Tensor]
) -> None:
    cycle = run_cycle(model, batch["source"], batch["target"])
    distance(*losses.intermediate_pair(cycle)).backward()
    assert without_gradient(model.pose_generator)
    assert without_gradient(model.motion.pose)
    assert not without_gradient(model.expression_generator)
    assert not without_gradient(model.motion.expression)
    assert not without_gradient(model.encoder)


@pytest.mark.parametrize("equation", ["reconstruction", "perceptual"])
def test_equations_8_and_9_use_the_truncated_pair(
    equation: str, model: Dpe, batch: dict[str, Tensor]
) -> None:
    # Everything but D' held constant: then nothing may reach what made D'.
    cycle = run_cycle(model, batch["source"], batch["target"])
    constant = {n: getattr(cycle, n).detach() for n in Cycle.__dataclass_fields__ if n != "driving_1"}
    held = Cycle(driving_1=cycle.driving_1, **constant)
    distance = RandomFeatures()
    loss = (
        losses.reconstruction_loss(held)
        if equation == "reconstruction"
        else losses.perceptual_loss(held, distance)
    )
    assert not loss.requires_grad


def test_the_expression_loss_trains_the_pose_generator_too(model: Dpe, batch: dict[str, Tensor]) -> None:
    cycle = run_cycle(model, batch["source"], batch["target"])
    losses.expression_loss(cycle, RandomFace(), PLACE, PLACE).backward()
    assert not without_gradient(model.pose_generator)
    assert not without_gradient(model.expression_generator)


def test_the_gradient_penalty_is_the_squared_slope() -> None:
    class Slope(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * x.sum((1, 2, 3))

    penalty = losses.gradient_penalty(Slope(), [torch.zeros(2, 3, 4, 4)] * 2)
    assert penalty.item() == pytest.approx(9 * 3 * 16)


def test_the_gradient_penalty_can_be_trained(tiny: DpeConfig) -> None:
    torch.manual_seed(0)
    critic = Discriminator(tiny)
    losses.gradient_penalty(critic, [torch.rand(2, 3, 32, 32)]).backward()
    assert not without_gradient(critic.blocks)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 8])
def test_the_discriminator_scores_each_picture(tiny: DpeConfig, n: int) -> None:
    torch.manual_seed(0)
    scores = Discriminator(tiny)(torch.rand(n, 3, 32, 32))
    assert scores.shape == (n,)


def test_the_spread_channel_is_nothing_for_equal_pictures() -> None:
    same = torch.rand(1, 5, 4, 4).expand(4, -1, -1, -1)
    assert spread_channel(same)[:, 5].max() == pytest.approx(1e-4)
    assert spread_channel(torch.rand(4, 5, 4, 4))[:, 5].min() > 0.1


def published_score(critic: Discriminator, x: Tensor) -> Tensor:
    """The end of StyleGAN2's discriminator as LIA's training code computes it, group of 4, one feature."""
    group = min(len(x), 4)
    n, c, h, w = x.shape
    spread = torch.sqrt(x.view(group, -1, 1, c, h, w).var(0, unbiased=False) + 1e-8)
    spread = spread.mean([2, 3, 4], keepdim=True).squeeze(2).repeat(group, 1, h, w)
    conv, linear, score = critic.last, critic.hidden, critic.score
    scale = 1 / math.sqrt(conv.conv.weight[0].numel())
    y = F.conv2d(torch.cat([x, spread], 1), conv.conv.weight * scale, padding=1)
    y = F.leaky_relu(y + conv.activation.bias.view(1, -1, 1, 1), 0.2) * 2**0.5
    y = F.linear(y.view(n, -1), linear.weight / math.sqrt(linear.weight.shape[1]))
    y = F.leaky_relu(y + linear.bias, 0.2) * 2**0.5
    return F.linear(y, score.weight / math.sqrt(score.weight.shape[1]), score.bias)[:, 0]


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_scores_are_those_of_the_published_discriminator(tiny: DpeConfig, n: int) -> None:
    torch.manual_seed(0)
    critic, images = Discriminator(tiny), torch.rand(n, 3, 32, 32)
    for bias in (critic.last.activation.bias, critic.hidden.bias):
        nn.init.normal_(bias)
    maps = critic.stem(images)
    for block in critic.blocks:
        maps = block(maps)
    torch.testing.assert_close(critic(images), published_score(critic, maps))


def test_batches_are_scored_alone(tiny: DpeConfig) -> None:
    torch.manual_seed(0)
    critic = Discriminator(tiny)
    a, b, c, d = torch.rand(4, 4, 3, 32, 32)
    with torch.no_grad():
        got = losses.discriminator_loss(critic, (a, b), (c, d))
        scores = [critic(x) for x in (a, b, c, d)]
        mixed = [critic(torch.cat(pair)) for pair in ((a, b), (c, d))]
    want = sum(F.softplus(sign * s).mean() for sign, s in zip((-1, -1, 1, 1), scores, strict=True)) / 2
    torch.testing.assert_close(got, want)
    apart = F.softplus(-mixed[0]).mean() + F.softplus(mixed[1]).mean()
    assert abs(got - apart) > 1e-4, "this network does not tell groups apart"
