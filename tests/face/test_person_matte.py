"""Separating a person from the background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import PORTRAITS
from mimicam.engine.face.person_matte import person_matte
from mimicam.engine.face.tracker import FaceDetector, FaceTracker
from mimicam.engine.types import Float, Image
from tests.stages.material import bundled


def _face(picture: Image) -> Float:
    tracker = FaceTracker()
    tracker.start(FaceDetector()(picture)[0].region)
    face = tracker(picture)
    assert face is not None
    return face.landmarks[:, :2]


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_matte_covers_bundled_faces_and_not_their_walls(name: str) -> None:
    picture = bundled(f"{name}.jpg")
    points = _face(picture)
    matte = person_matte(picture, points)
    assert matte.opacity is not None, matte.problem
    face = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(points.round().astype(np.int32)), 1)
    assert (matte.opacity[face == 1] == 1.0).all()
    edge = len(picture) // 20
    assert matte.opacity[:edge, :edge].max() < 0.05
    unsure = ((matte.opacity > 0.02) & (matte.opacity < 0.98)).mean()
    assert 0.001 < unsure < 0.06, "soft at the silhouette alone"


def test_the_matte_is_one_piece() -> None:
    opacity = person_matte(bundled("finn.jpg"), _face(bundled("finn.jpg"))).opacity
    assert opacity is not None
    _, _, facts, _ = cv2.connectedComponentsWithStats((opacity > 0.5).astype(np.uint8))
    areas = sorted(facts[1:, cv2.CC_STAT_AREA])
    assert sum(areas[:-1]) < 1e-3 * areas[-1]


def test_two_people_give_the_matte_of_the_one_whose_face_is_meant() -> None:
    left, right = (cv2.resize(bundled(name), (300, 300)) for name in ("kai.jpg", "lily.jpg"))
    gap = np.full((300, 60, 3), 200, np.uint8)
    both = np.ascontiguousarray(np.hstack([left, gap, right]))
    opacity = person_matte(both, _face(left)).opacity
    assert opacity is not None
    assert opacity[150, 150] == 1.0
    assert opacity[:, 420:].max() == 0.0


def test_the_edge_follows_the_pictures_edge() -> None:
    # The silhouette lies where the colours change: a pixel to either side the matte is decided.
    picture, points = bundled("kai.jpg"), _face(bundled("kai.jpg"))
    opacity = person_matte(picture, points).opacity
    assert opacity is not None
    row = int(points[:, 1].min()) - 40  # across the bald head
    line = cv2.GaussianBlur(picture, (0, 0), 1.5)[row].astype(float)
    change = np.abs(np.gradient(line, axis=0)).sum(axis=1)
    (first, last), middle = np.flatnonzero(opacity[row] > 0.5)[[0, -1]], int(points[:, 0].mean())
    assert abs(first - change[:middle].argmax()) <= 4
    assert abs(last - middle - change[middle:].argmax()) <= 4


def test_a_wall_without_a_person_has_a_reason_and_no_matte() -> None:
    wall = np.full((200, 240, 3), 120, np.uint8)
    face = np.array([[100, 70], [140, 70], [140, 120], [100, 120]], np.float32)
    matte = person_matte(wall, face)
    assert matte.opacity is None
    assert "face" in matte.problem


def test_a_face_at_the_pictures_corner_is_no_error() -> None:
    face = np.array([[-30, -30], [3, -30], [3, 2], [-30, 2]], np.float32)
    assert person_matte(np.full((60, 50, 3), 120, np.uint8), face).opacity is None
