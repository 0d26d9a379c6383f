"""The linear model: identity, expression, eyes, normals."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.training.synthetic.mesh import HEAD_CENTRE, above_hairline, build_mesh
from mimicam.training.synthetic.model import FaceModel, NormalPlan, find_model, gaze_rotation

AHEAD = np.zeros(2, np.float32)
CHIN, NOSE_TIP, EYE_CORNER = 8, 30, 36


def test_a_missing_model_is_named_with_the_way_to_pass_one(tmp_path) -> None:
    with pytest.raises(EngineError, match=r"--model or set MIMICAM_ICT_MODEL"):
        find_model(tmp_path / "none.npz")


def test_another_npz_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "other.npz", vertices=np.zeros(3))
    with pytest.raises(EngineError, match="not the packed ICT model"):
        FaceModel.load(tmp_path / "other.npz")


def test_zero_coefficients_give_the_template(face_model: FaceModel) -> None:
    still = face_model.express(face_model.identity(np.zeros(60, np.float32)), face_model.weights(), AHEAD)
    np.testing.assert_allclose(still, face_model.neutral, atol=1e-5)


def test_the_jaw_moves_the_chin_and_leaves_nose_eyes_and_skull(face_model: FaceModel) -> None:
    opened = face_model.express(face_model.neutral, face_model.weights(jawOpen=1), AHEAD)
    moved = np.linalg.norm(opened - face_model.neutral, axis=1)
    assert moved[face_model.landmarks[CHIN]] > 2.0
    assert moved[face_model.landmarks[[NOSE_TIP, EYE_CORNER]]].max() < 0.2
    assert moved[above_hairline(face_model.neutral - HEAD_CENTRE) > 0.2].max() < 0.05


def test_gaze_turns_both_pupils(face_model: FaceModel) -> None:
    looking = face_model.express(face_model.neutral, face_model.weights(), np.array([0.3, 0.2], np.float32))
    for ball in face_model.eye_vertices:
        front = ball[face_model.neutral[ball, 2].argmax()]
        shift = looking[front] - face_model.neutral[front]
        assert shift[0] > 0.2
        assert shift[1] > 0.1


def test_gaze_rotation_is_a_rotation_of_the_asked_angles() -> None:
    turn = gaze_rotation(np.array([0.3, -0.2], np.float32))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    ahead = turn @ [0, 0, 1]
    assert np.arctan2(ahead[0], ahead[2]) == pytest.approx(0.3, abs=1e-6)
    assert np.arcsin(ahead[1]) == pytest.approx(-0.2, abs=1e-6)


def test_a_wide_eye_needs_more_lid_travel_than_a_narrow_one(face_model: FaceModel) -> None:
    wide = face_model.neutral + face_model.expression_shapes[
        face_model.expression_index["eyeWide_L"]
    ].reshape(-1, 3)
    assert face_model.lid_travel(wide)[0] > face_model.lid_travel(face_model.neutral)[0] + 0.05


def test_normals_of_a_ball_point_away_from_its_centre() -> None:
    azimuth, height = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-0.9, 0.9, 13))
    flat = np.sqrt(1 - height**2)
    ball = (
        np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], 2)
        .reshape(-1, 3)
        .astype(np.float32)
    )
    cells = [(r * 24 + c, r * 24 + (c + 1) % 24) for r in range(12) for c in range(24)]
    triangles = np.array([t for a, b in cells for t in ((a, b, a + 24), (b, b + 24, a + 24))], np.int32)
    normals = NormalPlan.build(triangles).normals(ball)
    inner = slice(24, -24)
    assert np.einsum("ij,ij->i", normals, ball)[inner].min() > 0.99


def test_lashes_start_at_the_lid_and_end_away_from_the_eye(face_model: FaceModel) -> None:
    mesh = build_mesh(face_model)
    lashes = mesh.attributes[np.unique(mesh.indices["lashes"])]
    eyes = np.stack([face_model.neutral[v].mean(0) for v in face_model.eye_vertices])
    distance = np.linalg.norm(lashes[:, None, :3] - eyes, axis=2).min(1)
    assert distance[lashes[:, 4] > 0.9].mean() > distance[lashes[:, 4] < 0.1].mean() + 0.1
