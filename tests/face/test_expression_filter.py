"""What expression did to a face, read off one frame."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mimicam.engine.face.expression_filter import (
    displacement_of_one_person,
    displacements,
    expression_displacement,
    view_terms,
)
from mimicam.engine.face.motion import read_motion, shape_change
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import CropBox, Float, MotionCode
from tests.stages.material import driver_clip, motion, pose, shapes

LIPS = [13, 14, 61, 291, 78, 308, 81, 178, 311, 402]


@cache
def _driver() -> tuple[MotionCode, ...]:
    """A woman who is not among the people of the bundled maps, from grief to laughter."""
    tracker, faces = FaceTracker(), []
    for image in driver_clip():
        face = tracker(image)
        assert face is not None
        box = CropBox(x_px=0.0, y_px=0.0, size_px=float(max(image.shape[:2])))
        faces.append(read_motion(box.from_image(face.landmarks), face.blendshapes))
    return tuple(faces)


def _explained(truth: list[Float], read: list[Float]) -> float:
    """Share of the variance that x and y of the lips have."""
    wanted, got = (np.stack(shapes)[:, LIPS, :2] for shapes in (truth, read))
    wanted, got = wanted - wanted.mean(axis=0), got - got.mean(axis=0)
    return float(1 - ((wanted - got) ** 2).sum() / (wanted**2).sum())


def test_a_strangers_lips_are_read_better_than_by_blendshapes_alone() -> None:
    faces, stranger = _driver(), motion(pose(yaw=8))
    truth = [face.shape for face in faces]
    blendshapes = [shape_change(face.expression - stranger.expression) for face in faces]
    read = [expression_displacement(face, stranger) for face in faces]
    assert _explained(truth, read) > 0.75
    # Of what blendshapes leave, more than a third (this clip is one of strong turns, which the truth holds too).
    assert 1 - _explained(truth, read) < 0.65 * (1 - _explained(truth, blendshapes))


def test_within_one_person_more_of_what_is_seen_counts() -> None:
    faces = _driver()
    truth = [face.shape for face in faces]
    filtered = [expression_displacement(face, faces[0]) for face in faces]
    seen = [displacement_of_one_person(face, faces[0]) for face in faces]
    assert _explained(truth, seen) > _explained(truth, filtered)


def test_a_face_like_itself_has_no_displacement() -> None:
    face = _driver()[5]
    assert not expression_displacement(face, face).any()
    assert not displacement_of_one_person(face, face).any()


def test_the_way_there_is_the_way_back() -> None:
    one, other = _driver()[2], _driver()[20]
    there, back = expression_displacement(one, other), expression_displacement(other, one)
    np.testing.assert_allclose(there, -back, atol=1e-6)
    assert np.abs(there).max() > 0.05


def test_a_larger_face_of_the_same_expression_counts_for_little() -> None:
    """A tenth more in every direction is identity: most of it is left out, none of it by the raw difference."""
    plain = motion()
    larger = replace(plain, shape=plain.shape * np.float32(1.1))
    read, raw = expression_displacement(larger, plain), larger.shape - plain.shape
    assert np.linalg.norm(read[LIPS, :2]) < 0.5 * np.linalg.norm(raw[LIPS, :2])


def test_displacements_of_many_differ_by_what_two_differ() -> None:
    faces = _driver()[:3]
    many = displacements(
        np.stack([f.shape for f in faces]),
        np.stack([f.expression for f in faces]),
        np.stack([f.pose.rotation for f in faces]),
    )
    for i in (1, 2):
        wanted = expression_displacement(faces[i], faces[0])
        np.testing.assert_allclose(many[i] - many[0], wanted, atol=1e-5)


def test_rolling_the_picture_changes_nothing() -> None:
    upright, rolled = pose(yaw=20, pitch=-10), pose(yaw=20, pitch=-10, roll=0)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], np.float32)
    rolled = replace(rolled, rotation=turn @ upright.rotation)
    np.testing.assert_allclose(view_terms(rolled.rotation), view_terms(upright.rotation), atol=1e-6)
    assert view_terms(pose().rotation) == pytest.approx(0.0, abs=1e-6)
    assert np.abs(view_terms(upright.rotation)).max() > 0.3


def test_an_opened_jaw_takes_the_lower_lip_down() -> None:
    closed = motion()
    change = shape_change(shapes(jawOpen=0.7))
    opened = replace(closed, expression=shapes(jawOpen=0.7), shape=closed.shape + change)
    read = expression_displacement(opened, closed)
    assert read[14, 1] == pytest.approx(change[14, 1], rel=0.25)
    assert read[14, 1] > 0.1
