"""The map from pose codes to what the retrieval compares: it tells angles and blendshapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64, RETRIEVED
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.retrieval.index import code_scores
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.daegan.retrieval import fit_retrieval, learn_retrieval
from mimicam.training.data.pairs import FramePack
from tests.training.packs import write_pack


def test_cosines_rank_as_distances_do() -> None:
    rng = np.random.default_rng(0)
    tracked = rng.uniform(0, 0.5, (400, 55)).astype(np.float32)
    tracked[:, -3:] -= 0.25
    # Codes in which the tracker's values are mixed, some of them scaled up, and noise beside them.
    mixing = rng.normal(size=(55, 64)) * rng.uniform(0.2, 5, 64)
    codes = (tracked @ mixing + rng.normal(size=(400, 64)) * 0.05).astype(np.float32)
    codes = (codes - codes.mean(0)) / codes.std(0)
    weight, bias = fit_retrieval(codes, tracked)
    assert weight.shape == (RETRIEVED, 64)
    found = codes @ weight.T + bias

    def correlation(compared: np.ndarray) -> float:
        apart = np.linalg.norm((tracked - tracked[0]) * np.r_[np.ones(52), 2, 2, 2], axis=1)[1:]
        return float(np.corrcoef(-apart, code_scores(compared[0], compared)[1:])[0, 1])

    assert correlation(found) > 0.9
    assert correlation(found) > correlation(codes) + 0.1


def test_values_that_vary_much_do_not_decide_alone() -> None:
    rng = np.random.default_rng(0)
    tracked = np.zeros((500, 55), np.float32)
    # One blendshape varies 16 times as much as another, and yaw nine times as much as pitch.
    tracked[:, [3, 7, 52, 53]] = rng.normal(size=(500, 4)) * (0.32, 0.02, 0.36, 0.04)
    codes = np.hstack([tracked[:, [3, 7, 52, 53]] / (0.32, 0.02, 0.36, 0.04), rng.normal(size=(500, 4))])
    weight, bias = fit_retrieval(codes.astype(np.float32), tracked)
    found = (codes @ weight.T + bias).std(0)
    assert 2 < found[3] / found[7] < 10
    assert 2 < found[52] / found[53] < 6
    total = np.sqrt((found[[52, 53]] ** 2).sum() / (tracked.std(0)[[52, 53]] ** 2).sum())
    assert total == pytest.approx(2, rel=0.05), "a radian counts as two blendshapes"
    assert found[[0, 1, 2]].max() == 0, "what never varies"


def test_model_and_average_get_the_map(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = DaeGanRecipe(DaeGanOptions(ema=0.9), config=DAEGAN_COMPACT_64)
    recipe.start_from_trunk(read_trunk())
    pack = FramePack(write_pack(tmp_path / "clips"), validation=False)
    before = recipe.model.pose_embedder.retrieval.weight.clone()
    learn_retrieval(recipe, [pack], pictures=40)
    own, average = (model.pose_embedder.retrieval for model in (recipe.model, recipe.result))
    assert not torch.equal(own.weight, before)
    assert torch.equal(own.weight, average.weight)
    assert torch.equal(own.bias, average.bias)
    assert average.bias[-1] == pytest.approx(6.0)
    assert recipe.model.training, "training goes on"
