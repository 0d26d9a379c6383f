"""Driver's box: where it is placed, when it stays and when it moves."""

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import canonical_shape, head_pose, place
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y, DriverBox, at_rest, cut, portrait_box
from mimicam.engine.types import CropBox, Face
from tests.stages.material import SECOND_NS, driver_clip, face_at, first_face

FRAME_NS = SECOND_NS // 30


def _centre(box: CropBox) -> tuple[float, float]:
    return box.x_px + box.size_px / 2, box.y_px + box.size_px / 2


def test_a_portraits_head_lands_where_training_has_it() -> None:
    face = first_face()
    pose = head_pose(portrait_box(face).from_image(face.landmarks))
    assert pose.scale == pytest.approx(HEAD_SCALE, rel=1e-5)
    assert pose.translation == pytest.approx([0.0, HEAD_Y], abs=1e-4)


def test_a_head_at_rest_is_where_the_box_shows_it() -> None:
    face = first_face()
    box = portrait_box(face)
    pose = head_pose(face.landmarks)
    # The same face, seen from the front.
    shape = canonical_shape(face.landmarks, pose)
    shown = box.from_image(place(shape, replace(pose, rotation=np.eye(3, dtype=np.float32))))
    np.testing.assert_allclose(at_rest(shape), shown[:, :2], atol=1e-3)


def test_the_crop_of_a_frame_contains_the_face() -> None:
    face = first_face()
    inside = portrait_box(face).from_image(face.landmarks)
    assert np.abs(inside[:, :2]).max() < 1.0


def test_from_image_maps_corners_to_unit_square_and_scales_depth() -> None:
    box = CropBox(x_px=10.0, y_px=20.0, size_px=50.0)
    points = np.array([[10, 20, 0], [60, 70, 5], [35, 45, -25]], np.float32)
    assert box.from_image(points) == pytest.approx(
        np.array([[-1, -1, 0], [1, 1, 0.2], [0, 0, -1]], np.float32), abs=1e-6
    )
    assert (points[0] == [10, 20, 0]).all(), "the points given are not written to"


def test_a_box_of_whole_pixels_is_cut_out_exactly() -> None:
    image = driver_clip()[0]
    out = cut(image, CropBox(x_px=100.0, y_px=40.0, size_px=64.0), 64)
    assert np.abs(out.astype(int) - image[40:104, 100:164]).max() <= 1


def test_beyond_the_pictures_edge_its_border_repeats() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = 50, 200
    out = cut(image, CropBox(x_px=-40.0, y_px=-40.0, size_px=120.0), 120)
    assert (out[:, :55] == 50).all()
    assert (out[:, 65:] == 200).all()


def test_a_reduced_crop_keeps_the_mean_of_fine_patterns() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, ::2] = 255
    out = cut(image, CropBox(x_px=0.0, y_px=0.0, size_px=256.0), 32)
    assert np.abs(out[2:-2, 2:-2].astype(float) - 127.5).max() < 20, "pixels were skipped"


def test_the_box_stays_put_while_the_face_moves_inside() -> None:
    driver = DriverBox()
    first = driver(face_at(300, 200, 80), 0)
    moved = [face_at(300 + 40, 200 - 30, 80), face_at(300, 200, 95), face_at(270, 220, 70)]
    assert [driver(face, (i + 1) * FRAME_NS) for i, face in enumerate(moved)] == [first] * 3


def test_the_box_follows_slowly_when_the_face_nears_its_edge() -> None:
    driver = DriverBox()
    first = driver(face_at(300, 200, 80), 0)
    far = face_at(300 + 0.5 * first.size_px / 2, 200, 80)
    boxes = [driver(far, i * FRAME_NS) for i in range(1, 60)]
    steps = np.diff([first.x_px, *(b.x_px for b in boxes)])
    assert (steps >= 0).all()
    assert 0 < steps.max() < 0.1 * first.size_px, "it follows, and does not jump"
    dx = abs(_centre(portrait_box(far))[0] - _centre(boxes[-1])[0]) / (first.size_px / 2)
    assert dx <= 0.301, "it follows until the face is well inside again"
    assert boxes[-1] == boxes[-2], "and then stays"


def test_following_depends_on_time_and_not_on_frame_count() -> None:
    def after(steps: int) -> CropBox:
        driver = DriverBox()
        driver(face_at(300, 200, 80), 0)
        far = face_at(300, 700, 80)
        return [driver(far, SECOND_NS * i // (10 * steps)) for i in range(1, steps + 1)][-1]

    assert after(1).y_px == pytest.approx(after(8).y_px, abs=1e-3)


def test_a_growing_face_makes_the_box_grow() -> None:
    driver = DriverBox()
    first = driver(face_at(300, 200, 80), 0)
    last = [driver(face_at(300, 200, 130), i * FRAME_NS) for i in range(1, 60)][-1]
    assert first.size_px < last.size_px <= portrait_box(face_at(300, 200, 130)).size_px


@pytest.mark.parametrize("face", [face_at(3000, 200, 80), face_at(300, 200, 20)], ids=["away", "small"])
def test_another_person_gets_a_new_box_at_once(face: Face) -> None:
    driver = DriverBox()
    driver(face_at(300, 200, 80), 0)
    assert driver(face, FRAME_NS) == portrait_box(face)


def test_after_a_reset_the_next_face_places_the_box() -> None:
    driver = DriverBox()
    driver(face_at(300, 200, 80), 0)
    driver.reset()
    face = face_at(310, 205, 82)
    assert driver(face, FRAME_NS) == portrait_box(face)


def test_time_that_runs_backwards_moves_nothing() -> None:
    driver = DriverBox()
    first = driver(face_at(300, 200, 80), 10 * SECOND_NS)
    assert driver(face_at(300, 400, 80), 9 * SECOND_NS) == first
