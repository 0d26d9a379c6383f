"""People, expressions and poses are drawn by seed, and the way they occur."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.types import HeadPose
from mimicam.training.synthetic.model import FaceModel
from mimicam.training.synthetic.people import SKIN_SRGB, draw_person
from mimicam.training.synthetic.sample import GAZE_LIMIT_RAD, ExpressionSampler, draw_pose
from mimicam.training.synthetic.scene import Lens, head_rotation, project, still


def _many(model: FaceModel, count: int = 400) -> np.ndarray:
    sampler, rng = ExpressionSampler(model), np.random.default_rng(0)
    return np.stack([sampler.draw(rng).weights for _ in range(count)])


def test_weights_stay_between_zero_and_one(face_model: FaceModel) -> None:
    weights = _many(face_model)
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_smiles_are_symmetric_and_brow_and_jaw_independent(face_model: FaceModel) -> None:
    weights, at = _many(face_model), face_model.expression_index
    columns = [at["mouthSmile_L"], at["mouthSmile_R"], at["cheekSquint_L"], at["jawOpen"], at["browDown_L"]]
    together = np.corrcoef(weights[:, columns].T)
    assert together[0, 1] > 0.8
    assert together[0, 2] > 0.5
    assert abs(together[3, 4]) < 0.4


def test_every_shape_of_the_face_is_used(face_model: FaceModel) -> None:
    assert (_many(face_model, 1500).max(0) > 0.15).all()


def test_eyes_close_fully_in_about_one_of_six(face_model: FaceModel) -> None:
    blinks = _many(face_model)[:, face_model.expression_index["eyeBlink_L"]]
    assert 0.1 < (blinks == 1).mean() < 0.25
    assert (blinks < 0.15).mean() > 0.6


def test_lips_never_close_further_than_the_jaw_opened(face_model: FaceModel) -> None:
    weights, at = _many(face_model), face_model.expression_index
    assert (weights[:, at["mouthClose"]] <= weights[:, at["jawOpen"]]).all()


def test_lids_and_look_weights_follow_the_gaze(face_model: FaceModel) -> None:
    sampler, rng, at = ExpressionSampler(face_model), np.random.default_rng(3), face_model.expression_index
    for _ in range(50):
        drawn = sampler.draw(rng)
        sideways = drawn.weights[at["eyeLookOut_L"]] - drawn.weights[at["eyeLookIn_L"]]
        assert sideways == pytest.approx(drawn.gaze_rad[0] / GAZE_LIMIT_RAD[0], abs=1e-5)


@pytest.mark.parametrize("angles", [(0.4, 0.0, 0.0), (0.0, 0.0, -0.3)], ids=str)
def test_yaw_and_roll_mean_what_the_engine_says_they_mean(angles: tuple[float, float, float]) -> None:
    pose = HeadPose(rotation=still(*angles).crop_rotation(), translation=np.zeros(2, np.float32), scale=1.0)
    np.testing.assert_allclose(pose.angles_rad(), angles, atol=1e-6)


def test_positive_pitch_points_the_nose_down_the_picture() -> None:
    nose = still(0.0, 0.25).crop_rotation() @ [0.0, 0.0, -1.0]
    assert np.arcsin(nose[1]) == pytest.approx(0.25, abs=1e-6)


def test_poses_are_rotations_and_differ() -> None:
    rng = np.random.default_rng(0)
    turns = np.stack([draw_pose(rng).rotation for _ in range(50)])
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-5
    )
    assert np.ptp(turns[:, 0, 2]) > 0.5


def test_yaw_moves_the_nose_to_larger_x_and_pitch_moves_it_down() -> None:
    tip = np.array([[0.0, 0.4, 13.0]], np.float32)
    at = {name: project(tip, pose, Lens(), 256)[0] for name, pose in
          {"rest": still(), "yaw": still(0.3), "pitch": still(0.0, 0.2)}.items()}  # fmt: skip
    assert at["yaw"][0] > at["rest"][0] + 10
    assert at["pitch"][1] > at["rest"][1] + 8


def test_a_distant_lens_is_nearly_a_weak_perspective() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(0, 5, (30, 3)).astype(np.float32)
    lens = Lens(distance_cm=50_000.0)
    turn = head_rotation(0.4, -0.2, 0.1)
    rest, turned = project(points, still(), lens, 256), project(points, still(0.4, -0.2, 0.1), lens, 256)
    scale = 256 * lens.face_to_box / 17.0
    want = (points @ turn.T - points)[:, :2] * np.float32([scale, -scale])
    moved = turned - rest
    np.testing.assert_allclose(moved - moved[0], want - want[0], atol=0.05)


def test_the_seed_decides_the_person() -> None:
    one, same, other = (draw_person(np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.identity, same.identity)
    np.testing.assert_array_equal(one.backdrop, same.backdrop)
    assert (one.skin, one.hair, one.light, one.lens) == (same.skin, same.hair, same.light, same.lens)
    assert not np.array_equal(one.identity, other.identity)


def test_light_and_dark_skin_are_equally_frequent() -> None:
    tones = np.array([sum(draw_person(np.random.default_rng(s)).skin.colour) for s in range(120)])
    palette = ((SKIN_SRGB / 255) ** 2).sum(1)
    middle = (palette[4] + palette[5]) / 2
    assert 0.35 < (tones < middle).mean() < 0.65
