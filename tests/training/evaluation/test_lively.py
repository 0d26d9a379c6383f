"""The lively set: who drives whom, and figures of results that are known."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.types import EditSettings, Mode, MotionReference
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation import lively, metrics
from mimicam.training.evaluation.lively import (
    SecondOpinions,
    evaluate_copied_drivers,
    evaluate_lively,
    expressive_sources,
    lively_drivers,
    lively_pairs,
)
from tests.pipeline.fake_model import FakeModel

FRAMES = 6


def test_no_one_drives_their_own_portrait(pack: FramePack) -> None:
    pairs = lively_pairs(pack, count=20, frames=FRAMES)
    assert pairs
    assert all(source.identity != driver.identity for source, driver in pairs)
    people = [(source.identity, driver.identity) for source, driver in pairs]
    assert len(set(people)) == len(people)


def test_only_people_kept_out_of_training_take_part(pack: FramePack) -> None:
    kept_out = {segment["identity"] for segment in pack.segments if segment["validation"]}
    assert {driver.identity for driver in lively_drivers(pack, FRAMES)} <= kept_out
    assert {source.identity for source in expressive_sources(pack)} <= kept_out


def test_drivers_are_consecutive_frames(pack: FramePack) -> None:
    for driver in lively_drivers(pack, FRAMES):
        assert len(driver.images) == len(driver.landmarks) == len(driver.blendshapes) == FRAMES


def test_a_result_that_is_the_driver_follows_them_exactly(
    pack: FramePack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_driver(*arguments: object) -> list[np.ndarray]:
        return list(arguments[2].images)  # type: ignore[attr-defined]

    monkeypatch.setattr(lively, "run_pipeline", copy_driver)
    # The other one is a portrait rocked by the camera, evenly: its jitter is the tracker's noise, a ratio of nothing.
    pairs = [pair for pair in lively_pairs(pack, count=2, frames=FRAMES) if pair[1].identity == "driver"]
    settings = EditSettings(mode=Mode.BOTH, pose_motion=MotionReference.ABSOLUTE)
    figures = evaluate_lively(pairs, FakeModel(), settings, SecondOpinions())
    assert figures["lost_share"] == 0.0
    assert figures["distance"] < 0.25 * figures["distance_copying"]
    assert figures["jitter"] == pytest.approx(1.0, abs=0.35)


def test_copied_drivers_follow_almost_and_keep_their_pose(pack: FramePack) -> None:
    pairs = [pair for pair in lively_pairs(pack, count=2, frames=FRAMES) if pair[1].identity == "driver"]
    figures = evaluate_copied_drivers(pairs, SecondOpinions())
    assert figures["lost_share"] == 0.0
    # Read in other pictures than the driver's, so not 0 as the same numbers would give.
    assert 0.0 < figures["distance"] < 0.25 * figures["distance_copying"]


def test_a_mouth_that_never_shuts_is_told_though_it_follows(pack: FramePack) -> None:
    driver = lively_drivers(pack, FRAMES)[0].landmarks.copy()
    driver[:, [14, 178, 402]] = driver[:, [13, 81, 311]]
    parted = driver.copy()
    eyes = np.linalg.norm(driver[:, 33, :2] - driver[:, 263, :2], axis=1)
    parted[:, 14, 1] += 0.1 * eyes
    assert metrics.shut_parts(driver, driver)["lips"] == 0
    assert metrics.shut_parts(driver, parted)["lips"] == pytest.approx(0.1, abs=1e-3)
    assert "lips" not in metrics.shut_parts(parted, driver)
