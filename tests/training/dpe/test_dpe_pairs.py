"""Pairs of DPE: two frames of one clip as they are, or drawn as the compact preset does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.training.data.pairs import FramePack
from mimicam.training.dpe.pairs import PairBatches, RandomPairs, open_pairs
from tests.training.packs import write_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> FramePack:
    return FramePack(write_pack(tmp_path_factory.mktemp("pack"), people=4, frames=5), validation=False)


def rows(pack: FramePack, draw: RandomPairs, count: int) -> np.ndarray:
    """The rows of many pairs, found by their landmarks."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        pair = draw(rng)
        for key in ("source", "target"):
            (row,) = np.flatnonzero((pack.landmarks == pair[f"{key}_landmarks"]).all((1, 2)))
            assert np.array_equal(pair[key].transpose(1, 2, 0), pack.frames[row]), "the frame as it is"
            found.append(row)
    return np.array(found).reshape(-1, 2)


def test_random_pairs_are_two_frames_of_one_clip_as_they_are(pack: FramePack) -> None:
    drawn = rows(pack, RandomPairs(pack, 64), 600)
    clip = pack.segment[drawn]
    assert (clip[:, 0] == clip[:, 1]).all()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert set(drawn.flatten()) == set(pack.indices), "people of the other split are not drawn"
    # Uniform: of 15 * 4 ordered pairs each has 10 of 600, with a standard deviation of 3.1.
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 60
    assert counts.max() < 10 + 5 * 3.1


def test_random_pairs_have_the_networks_size(pack: FramePack) -> None:
    batch = PairBatches(RandomPairs(pack, 32), batch=3, seed=0).batch(0)
    assert batch["source"].shape == (3, 3, 32, 32)
    assert batch["source_landmarks"].shape == (3, 478, 3)


@pytest.mark.parametrize("kind", ["random", "mined"])
def test_a_steps_batch_is_always_the_same(pack: FramePack, kind: str) -> None:
    batches = PairBatches(open_pairs(kind, pack, 32), batch=2, seed=5)
    first, again, other = batches.batch(3), next(batches.stream(3)), batches.batch(4)
    assert all(first[key].equal(again[key]) for key in first)
    assert not first["source"].equal(other["source"])


def test_a_split_without_pairs_is_refused(tmp_path: Path) -> None:
    lonely = FramePack(write_pack(tmp_path, people=2, frames=1), validation=False)
    with pytest.raises(EngineError, match="two frames"):
        RandomPairs(lonely, 64)


def test_an_unknown_way_to_draw_is_refused(pack: FramePack) -> None:
    with pytest.raises(EngineError, match="random, mined"):
        open_pairs("best", pack, 64)
