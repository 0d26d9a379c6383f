"""Replacing the background of portraits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.face.tracker import FaceDetector, Region
from mimicam.engine.portrait import read_picture
from mimicam.engine.web import backdrop

FACE = Region(x_px=200.0, y_px=190.0, size_px=140.0, roll_rad=0.0)


def _drawn() -> tuple[np.ndarray, np.ndarray]:
    """Draw a person of two ellipses on a textured wall. Returns picture and mask."""
    picture = np.random.default_rng(0).integers(60, 110, (400, 400, 3), np.uint8)
    person = np.zeros((400, 400), np.uint8)
    cv2.ellipse(person, (200, 190), (60, 85), 0, 0, 360, 1, -1)
    cv2.ellipse(person, (200, 400), (130, 120), 0, 0, 360, 1, -1)
    cv2.rectangle(person, (170, 240), (230, 320), 1, -1)
    picture[person == 1] = picture[person == 1] // 2 + np.array((150, 110, 90), np.uint8)
    return picture, person


def test_the_person_stays_and_the_wall_becomes_plain() -> None:
    picture, person = _drawn()
    out = backdrop.replaced(picture, FACE, "plain")
    inner = cv2.erode(person, np.ones((15, 15), np.uint8)) == 1
    outer = cv2.dilate(person, np.ones((15, 15), np.uint8)) == 0
    same = np.abs(out[inner].astype(int) - picture[inner]).max(axis=1) <= 1
    assert same.mean() > 0.98
    assert (out[outer] == (96, 104, 116)).all(axis=1).mean() > 0.99


def test_kept_returns_the_picture_and_green_is_the_key_colour() -> None:
    picture, _ = _drawn()
    assert backdrop.replaced(picture, FACE, "kept") is picture
    assert backdrop.replaced(picture, FACE, "green")[5, 5].tolist() == [0, 177, 64]


@pytest.mark.parametrize(("name", "place"), [("greta.jpg", (60, 384)), ("zola.jpg", (110, 384))])
def test_hats_and_hair_stay(name: str, place: tuple[int, int]) -> None:
    picture = read_picture(ASSETS / "portraits" / name)
    out = backdrop.replaced(picture, FaceDetector()(picture)[0].region, "plain")
    row, column = place
    part = slice(row - 10, row + 10), slice(column - 60, column + 20)
    assert (out[part] == picture[part]).all(), "GrabCut lost them"


def test_without_a_face_the_middle_is_kept() -> None:
    for shape in ((40, 30, 3), (30, 200, 3), (96, 96, 3)):
        grey = np.full(shape, 90, np.uint8)
        out = backdrop.replaced(grey, None, "plain")
        assert (out.shape, out.dtype) == (shape, np.uint8)
    edge = Region(x_px=0.0, y_px=0.0, size_px=500.0, roll_rad=0.0)
    assert backdrop.replaced(_drawn()[0], edge, "plain").shape == (400, 400, 3)


@pytest.mark.parametrize("name", ["samir.jpg", "rosa.jpg", "anna.jpg"])
def test_bundled_portraits_keep_their_faces_and_lose_their_walls(name: str) -> None:
    picture = read_picture(ASSETS / "portraits" / name)
    face = FaceDetector()(picture)[0].region
    out = backdrop.replaced(picture, face, "green")
    rows, columns = (
        slice(int(c - face.size_px / 4), int(c + face.size_px / 4)) for c in (face.y_px, face.x_px)
    )
    assert np.abs(out[rows, columns].astype(int) - picture[rows, columns]).mean() < 1.0
    height, width = picture.shape[:2]
    corners = [out[: height // 10, : width // 10], out[: height // 10, -width // 10 :]]
    assert all((corner == (0, 177, 64)).all() for corner in corners)
