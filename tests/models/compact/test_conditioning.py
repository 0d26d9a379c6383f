"""Conditioning of the compact generator: affine fit, pose vector, control points and masks."""

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.motion import pose_vector, read_motion, shape_change
from mimicam.engine.models.compact.conditioning import (
    CONTROL,
    ConditioningBuilder,
    build_conditioning,
    draw_opening_masks,
    fit_affine,
)
from mimicam.engine.models.compact.spec import CONDITIONING, CompactConfig, generator_spec
from tests.stages.material import motion, pose, shapes


def test_an_affine_map_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (32, 2)).astype(np.float32)
    matrix = np.array([[0.8, -0.3, 0.1], [0.2, 1.1, -0.4]], np.float32)
    target = points @ matrix[:, :2].T + matrix[:, 2]
    assert fit_affine(points, target) == pytest.approx(matrix, abs=1e-5)


def test_an_affine_fit_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(1)
    points, target = rng.normal(size=(2, 50, 2)).astype(np.float32)
    homogeneous = np.c_[points, np.ones(50)]
    want = np.linalg.lstsq(homogeneous, target, rcond=None)[0].T
    assert fit_affine(points, target) == pytest.approx(want, abs=1e-5)


def test_the_motion_of_a_posed_mean_face_is_recovered() -> None:
    head = pose(yaw=20, roll=-5, at=(0.1, -0.1), scale=0.45)
    read = read_motion(place(face_geometry().mean, head), shapes(jawOpen=0.5))
    assert read.shape == pytest.approx(face_geometry().mean, abs=1e-4)
    assert read.pose.rotation == pytest.approx(head.rotation, abs=1e-5)
    assert read.expression[25] == 0.5


def test_a_face_as_its_own_target_moves_nothing() -> None:
    own = motion(pose(yaw=10), jawOpen=0.3)
    conditioning = build_conditioning(own, own)
    assert (conditioning.source_points == conditioning.target_points).all()
    assert conditioning.affine == pytest.approx(np.eye(2, 3, dtype=np.float32), abs=1e-4)
    assert (conditioning.expression[0] == conditioning.expression[1]).all()
    assert (conditioning.pose[0] == conditioning.pose[1]).all()


def test_the_affine_goes_from_target_to_source() -> None:
    source, target = motion(pose(at=(0.0, 0.0))), motion(pose(at=(0.2, -0.1), scale=0.4))
    conditioning = build_conditioning(source, target)
    assert conditioning.affine == pytest.approx(np.array([[1, 0, -0.2], [0, 1, 0.1]], np.float32), abs=1e-4)
    assert conditioning.head == pytest.approx([0.2, -0.1, 0.4], abs=1e-5)


def test_an_expression_moves_no_head() -> None:
    own = motion(pose(yaw=25, roll=8, at=(0.1, 0.05)))
    change = shape_change(shapes(jawOpen=1.0, browInnerUp=1.0, mouthSmileLeft=0.8))
    conditioning = build_conditioning(own, replace(own, shape=own.shape + change))
    assert np.abs(conditioning.target_points - conditioning.source_points).max() > 0.05
    assert conditioning.affine == pytest.approx(np.eye(2, 3, dtype=np.float32), abs=2e-5)


def test_an_open_jaw_moves_the_lower_lip_and_hardly_the_forehead() -> None:
    change = shape_change(shapes(jawOpen=1.0))
    assert change[14, 1] > 0.1
    assert np.abs(change[10]).max() < 0.25 * change[14, 1]


def test_an_opening_mouth_is_drawn_where_it_opens() -> None:
    shut, mouth = motion(), motion()
    wide = replace(mouth, shape=mouth.shape + shape_change(shapes(jawOpen=1.0)))
    lips, lids, own_lips, *_ = build_conditioning(shut, wide, map_px=64).opening_masks
    assert lips.sum() > own_lips.sum() + 10
    assert lips.max() <= 1.0
    rows, columns = np.nonzero(lips > 0.5)
    middle = place(wide.shape, wide.pose)[[13, 14], :2].mean(axis=0)
    assert 2 * (np.array([columns.mean(), rows.mean()]) + 0.5) / 64 - 1 == pytest.approx(middle, abs=0.04)
    assert not (lips * lids).any(), "mouth and eyes do not meet"


def test_openings_outside_the_crop_are_not_drawn() -> None:
    assert not draw_opening_masks(place(face_geometry().mean, pose(at=(50.0, 0.0))), 64).any()
    assert not draw_opening_masks(place(face_geometry().mean, pose(at=(1e9, 0.0))), 64).any()


def test_no_change_of_expression_changes_no_shape() -> None:
    assert not shape_change(shapes()).any()


def test_conditioning_matches_the_generators_spec() -> None:
    found = build_conditioning(motion(), motion(pose(yaw=10)), map_px=128).tensors()
    spec = generator_spec(CompactConfig())
    wanted = {tensor.name: tensor.shape[1:] for tensor in spec.inputs if tensor.name in CONDITIONING}
    assert {name: array.shape for name, array in found.items()} == wanted
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert len(CONTROL) == CompactConfig().points


def test_a_pose_vector_holds_rotation_place_and_log_scale() -> None:
    head = pose(yaw=10, at=(0.3, 0.4), scale=float(np.exp(-1)))
    vector = pose_vector(head)
    assert vector[:9].reshape(3, 3) == pytest.approx(head.rotation)
    assert vector[9:] == pytest.approx([0.3, 0.4, 0.0], abs=1e-6)


def test_one_builder_serves_many_targets() -> None:
    own = motion(jawOpen=0.2)
    build = ConditioningBuilder(own, map_px=48)
    for jaw in (0.0, 0.9):
        target = motion(pose(yaw=10), jawOpen=jaw)
        fresh, kept = (
            build_conditioning(own, target, map_px=48).tensors(),
            build(target).tensors(),
        )
        assert all((fresh[name] == kept[name]).all() for name in CONDITIONING)
