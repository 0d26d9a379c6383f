"""The compact recipe at toy size: it learns, every part of it learns, and it resumes to the bit."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.models.compact.conditioning import build_conditioning  # noqa: E402
from mimicam.engine.models.compact.spec import CompactConfig  # noqa: E402
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe  # noqa: E402
from mimicam.training.data.pairs import TRAINED  # noqa: E402
from mimicam.training.trainer import Batch, Trainer, TrainerOptions  # noqa: E402
from tests.stages.material import bundled, motion, pose  # noqa: E402

TINY = CompactConfig(size=64, latent=16, widths=(8, 8, 16, 16), embed=4)
CANCELLED = {"codes.expression.2.bias", "codes.pose.2.bias"}
"""A code counts as the difference to the portrait's own: what both share cannot learn."""


def _picture(name: str, shift: int) -> np.ndarray:
    image = bundled(name)[shift : shift + 448 : 7, 32:480:7]
    return np.ascontiguousarray(image.transpose(2, 0, 1))


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Four pairs; the target is the source moved up, with an open mouth in its codes."""
    sources = [_picture(name, 28) for name in ("astronaut.jpg", "samir.jpg", "rosa.jpg", "anna.jpg")]
    targets = [_picture(name, 42) for name in ("astronaut.jpg", "samir.jpg", "rosa.jpg", "anna.jpg")]
    drives = [
        build_conditioning(
            motion(), motion(pose(yaw=5 * i, at=(0.0, -0.24)), jawOpen=0.2 * i), map_px=32
        ).tensors()
        for i in range(4)
    ]
    made = {"source": np.stack(sources), "target": np.stack(targets)}
    made |= {name: np.stack([drive[name] for drive in drives]) for name in TRAINED}
    return {key: torch.from_numpy(value) for key, value in made.items()}


def _recipe(**options: float) -> CompactRecipe:
    torch.manual_seed(0)
    settings = CompactOptions(**({"lr": 3e-3, "lr_final": 1e-3, "warmup": 5, "steps": 60} | options))  # type: ignore[arg-type]
    return CompactRecipe(settings, config=TINY)


def test_losses_fall_on_a_tiny_overfit(batch: Batch) -> None:
    recipe = _recipe()
    losses = [recipe.step(step, batch) for step in range(60)]
    assert losses[-1]["l1"] < 0.6 * losses[0]["l1"]
    assert losses[-1]["total"] < 0.7 * losses[0]["total"]
    assert all(np.isfinite(list(each.values())).all() for each in losses)


def test_every_parameter_that_can_learn_does(batch: Batch) -> None:
    recipe = _recipe()
    before = {name: value.clone() for name, value in recipe.model.named_parameters()}
    for step in range(3):  # what stands behind a layer that starts at zero gets its gradient a step later
        recipe.step(step, batch)
    for name, value in recipe.model.named_parameters():
        if name in CANCELLED:
            continue
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name
        assert not torch.equal(value, before[name]), name


def test_the_average_follows_slowly(batch: Batch) -> None:
    recipe = _recipe(ema=0.9)
    first = {k: v.clone() for k, v in recipe.average.state_dict().items()}
    for step in range(12):
        recipe.step(step, batch)
    name = "encoder.stem.weight"
    now, mean = recipe.model.state_dict()[name], recipe.average.state_dict()[name]
    assert 0 < (mean - first[name]).norm() < (now - first[name]).norm()
    assert not any(p.requires_grad for p in recipe.average.parameters())


def test_the_rate_warms_up_and_ends_where_it_was_told(batch: Batch) -> None:
    recipe = _recipe(lr=1e-3, lr_final=1e-4, warmup=10, steps=100)
    rates = [recipe._rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4, rel=1e-2)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(1e-4)
    later = _recipe(lr=1e-3, lr_final=1e-4, warmup=10, steps=200, first_step=100)
    assert later._rate(100) == pytest.approx(rates[0])
    recipe.step(100, batch)
    assert recipe.optimisers()["model"].param_groups[0]["lr"] == pytest.approx(1e-4)


def test_a_sample_grid_has_five_rows(batch: Batch) -> None:
    grid = _recipe().sample_grid(batch)
    assert grid.shape == (3, 5 * 64, 4 * 64)
    assert torch.allclose(grid[:, :64, 64:128], batch["source"][1] / 127.5 - 1, atol=1e-5)
    assert torch.allclose(grid[:, 64:128, :64], batch["target"][0] / 127.5 - 1, atol=1e-5)
    assert torch.equal(grid[0, 256:], grid[1, 256:]), "a mask is grey"


def test_drawing_samples_changes_nothing(batch: Batch) -> None:
    plain, shown = _recipe(), _recipe()
    plain.step(0, batch)
    shown.sample_grid(batch)
    shown.step(0, batch)
    for a, b in zip(plain.model.parameters(), shown.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_stopped_ends_where_an_unbroken_one_does(batch: Batch, tmp_path: Path) -> None:
    def run(out: str, steps: int) -> CompactRecipe:
        recipe = _recipe()
        trainer = Trainer(recipe, TrainerOptions(out=tmp_path / out, steps=steps, log_every=2))
        trainer.resume()
        trainer.run(lambda _: iter([batch] * 20))
        return recipe

    whole = run("whole", 6)
    run("parts", 3)
    parts = run("parts", 6)
    for name, module in whole.modules().items():
        other = parts.modules()[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in module.state_dict().items()), name
    a, b = (r.optimisers()["model"].state_dict()["state"] for r in (whole, parts))
    assert all(torch.equal(a[i]["exp_avg_sq"], b[i]["exp_avg_sq"]) for i in a)
