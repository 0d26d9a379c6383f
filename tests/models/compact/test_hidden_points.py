"""Control points behind others: they move as what covers them."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.models.compact.conditioning import CONTROL, fit_affine
from mimicam.engine.models.compact.hidden_points import CoveredPoints
from mimicam.engine.types import Float, HeadPose

NOSE = (1, 4, 5, 195)


def turned(degrees: float) -> Float:
    """Return the mean face's control points with the head turned."""
    turn = np.deg2rad(degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
    pose = HeadPose(rotation=rotation, translation=np.zeros(2, np.float32), scale=0.37)
    return place(face_geometry().mean, pose)[CONTROL]


def local_motion(source: Float, target: Float, affine: Float) -> Float:
    """Return what points move beyond the head's affine map, ``[K, 2]``."""
    return source[:, :2] - (target[:, :2] @ affine[:, :2].T + affine[:, 2])


@pytest.mark.parametrize("degrees", [0, 5, -10])
def test_a_face_that_hides_nothing_keeps_its_points(degrees: float) -> None:
    front, target = turned(0), turned(degrees)
    moved = CoveredPoints(front)(target, fit_affine(target[:, :2], front[:, :2]))
    np.testing.assert_allclose(moved, front, atol=2e-3)


@pytest.mark.parametrize("degrees", [40, -40])
def test_the_motion_around_a_turned_nose_is_the_noses(degrees: float) -> None:
    front, target = turned(0), turned(degrees)
    affine = fit_affine(target[:, :2], front[:, :2])
    moved = CoveredPoints(front)(target, affine)
    before, after = local_motion(front, target, affine), local_motion(moved, target, affine)
    nose = [int(np.flatnonzero(point == CONTROL)[0]) for point in NOSE if point in CONTROL]
    assert nose
    for point in nose:
        assert (moved[point] == front[point]).all(), "what covers others moves as it did"
    # Pixels of the far side of the nose, where the cheek behind it had torn it.
    tip = target[nose].mean(axis=0)
    behind = np.flatnonzero(
        (np.abs(target[:, :2] - tip[:2]).max(axis=1) < 0.12) & (target[:, 2] > tip[2] + 0.12)
    )
    assert behind.size
    strays = [
        np.linalg.norm(motion[behind] - before[nose].mean(axis=0), axis=1).max() for motion in (before, after)
    ]
    assert strays[1] < 0.75 * strays[0]


def test_only_hidden_points_are_moved() -> None:
    front, target = turned(0), turned(35)
    moved = CoveredPoints(front)(target, fit_affine(target[:, :2], front[:, :2]))
    changed = np.abs(moved - front).max(axis=1) > 1e-6
    assert 3 < changed.sum() < 40
    # One side is hidden, the other one comes to the front.
    sides = front[changed, 0]
    assert abs(np.sign(sides[np.abs(sides) > 0.1]).sum()) == (np.abs(sides) > 0.1).sum()
    assert (moved[:, 2] == front[:, 2]).all()
