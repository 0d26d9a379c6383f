"""Head pose, canonical shape and placing, against known truths."""

import numpy as np
import pytest

from mimicam.engine.face.geometry import (
    RIGID,
    canonical_shape,
    face_geometry,
    fit_similarity,
    head_pose,
    place,
)
from tests.stages.material import first_face, pose


@pytest.mark.parametrize("yaw", [-40.0, 0.0, 25.0])
@pytest.mark.parametrize("pitch", [-20.0, 0.0, 15.0])
@pytest.mark.parametrize("roll", [-30.0, 10.0])
def test_a_posed_mean_face_gives_its_pose_back(yaw: float, pitch: float, roll: float) -> None:
    put = pose(yaw=yaw, pitch=pitch, roll=roll, at=(0.3, -0.2), scale=0.55)
    found = head_pose(place(face_geometry().mean, put))
    assert found.rotation == pytest.approx(put.rotation, abs=1e-5)
    assert found.translation == pytest.approx(put.translation, abs=1e-5)
    assert found.scale == pytest.approx(0.55, abs=1e-5)


def test_angles_are_named_as_documented() -> None:
    assert np.rad2deg(pose(yaw=20).angles_rad()) == pytest.approx([20, 0, 0], abs=1e-4)
    assert np.rad2deg(pose(pitch=15).angles_rad()) == pytest.approx([0, 15, 0], abs=1e-4)
    assert np.rad2deg(pose(roll=-30).angles_rad()) == pytest.approx([0, 0, -30], abs=1e-4)


def test_yaw_moves_the_nose_right_and_pitch_moves_it_down() -> None:
    ahead = place(face_geometry().mean, pose())[1]
    assert place(face_geometry().mean, pose(yaw=20))[1, 0] > ahead[0] + 0.05
    assert place(face_geometry().mean, pose(pitch=20))[1, 1] > ahead[1] + 0.05


def test_scale_and_place_of_a_read_face_scale_with_the_picture() -> None:
    landmarks = first_face().landmarks
    one, two = head_pose(landmarks), head_pose(landmarks * 2.5)
    assert two.scale == pytest.approx(2.5 * one.scale, rel=1e-5)
    assert two.translation == pytest.approx(2.5 * one.translation, rel=1e-5)
    assert two.rotation == pytest.approx(one.rotation, abs=1e-5)


def test_place_undoes_canonical_shape() -> None:
    landmarks = first_face().landmarks
    read = head_pose(landmarks)
    again = place(canonical_shape(landmarks, read), read)
    assert again[:, :2] == pytest.approx(landmarks[:, :2], abs=1e-3)
    centred = landmarks[:, 2] - landmarks[RIGID, 2].mean()
    assert again[:, 2] == pytest.approx(centred, abs=1e-3)


def test_canonical_shape_undoes_place() -> None:
    put = pose(yaw=30, pitch=-10, roll=5, at=(0.1, 0.2), scale=0.7)
    mean = face_geometry().mean
    assert canonical_shape(place(mean, put), put) == pytest.approx(mean, abs=1e-5)


def test_neither_writes_to_what_it_is_given() -> None:
    landmarks = first_face().landmarks.copy()
    canonical_shape(landmarks, head_pose(landmarks))
    place(landmarks, pose())
    assert (landmarks == first_face().landmarks).all()


def test_the_similarity_is_never_a_reflection() -> None:
    source = face_geometry().mean[RIGID]
    rotation, _, _ = fit_similarity(source, source * np.array([-1, 1, 1], np.float32))
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)


def test_many_faces_are_fitted_as_one_by_one() -> None:
    mean = face_geometry().mean
    faces = np.stack([place(mean, pose(yaw=y, scale=0.3 + y / 100)) for y in (0.0, 10.0, 20.0)])
    rotation, scale, centre = fit_similarity(mean[RIGID], faces[:, RIGID])
    for index, face in enumerate(faces):
        alone = head_pose(face)
        assert rotation[index] == pytest.approx(alone.rotation, abs=1e-5)
        assert scale[index] == pytest.approx(alone.scale, rel=1e-5)
        assert centre[index, :2] == pytest.approx(alone.translation, abs=1e-5)


def test_the_bundled_mean_face_is_symmetric_and_normalised() -> None:
    geometry = face_geometry()
    flipped = geometry.mean[geometry.mirror] * np.array([-1, 1, 1], np.float32)
    assert np.abs(flipped - geometry.mean).max() < 0.05
    assert (geometry.mirror[geometry.mirror] == np.arange(478)).mean() > 0.98
    assert geometry.mean[RIGID].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    assert (geometry.mean[RIGID] ** 2).sum(axis=1).mean() == pytest.approx(1.0, abs=1e-4)
