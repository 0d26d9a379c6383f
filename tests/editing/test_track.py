"""The box that follows a face, and the smoothing that knows the future."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.editing.smoothing import gaussian
from mimicam.engine.editing.track import steady_boxes
from mimicam.engine.stages.crop import portrait_box
from mimicam.engine.types import CropBox
from tests.editing.material import face, track


def test_smoothing_delays_nothing() -> None:
    times_s = np.arange(50) / 25.0
    line = (3.0 * times_s).astype(np.float32)[:, None]
    smooth = gaussian(line, times_s, 0.1)
    np.testing.assert_allclose(smooth, line, atol=1e-5)


def test_smoothing_goes_by_time_not_by_index() -> None:
    dense, sparse = np.arange(0, 4, 0.01), np.arange(0, 4, 0.04)
    results = [gaussian(np.sin(times).astype(np.float32)[:, None], times, 0.2) for times in (dense, sparse)]
    np.testing.assert_allclose(results[0][::4][20:-20], results[1][20:-20], atol=2e-3)


def test_a_trembling_face_has_a_box_that_hardly_moves() -> None:
    rng = np.random.default_rng(0)
    faces = [face(320 + x, 180 + y) for x, y in rng.normal(0, 1.5, (60, 2))]
    boxes = steady_boxes(track(faces))
    steps = np.abs(np.diff([box.x_px for box in boxes if box is not None]))
    assert steps.max() <= 1, "one pixel is the rounding to whole pixels"


@pytest.mark.parametrize("speed_px_s", [40.0, 400.0])
def test_the_box_stays_near_a_face_that_moves(speed_px_s: float) -> None:
    faces = [face(100 + speed_px_s * index / 25, 180) for index in range(75)]
    boxes = steady_boxes(track(faces))
    for seen, box in zip(faces, boxes, strict=True):
        wanted = portrait_box(seen)
        assert box is not None
        assert abs(box.x_px + box.size_px / 2 - wanted.x_px - wanted.size_px / 2) < 0.15 * wanted.size_px / 2
        assert box.size_px / wanted.size_px == pytest.approx(1, abs=0.02)


def test_boxes_lie_on_whole_pixels() -> None:
    for box in steady_boxes(track([face(100.3 + 0.7 * index, 90.8, scale_px=41.7) for index in range(10)])):
        assert box is not None
        assert box.x_px.is_integer()
        assert box.y_px.is_integer()
        assert (box.size_px / 2).is_integer()


def test_a_cut_moves_the_box_at_once() -> None:
    boxes = steady_boxes(track([face(100, 100)] * 20 + [face(500, 200)] * 20))
    left, right = boxes[19], boxes[20]
    assert isinstance(left, CropBox)
    assert isinstance(right, CropBox)
    assert right.x_px - left.x_px == pytest.approx(400, abs=1)


def test_frames_without_the_face_have_no_box() -> None:
    seen = track([face(100, 100), None, face(100, 100)])
    assert [box is None for box in steady_boxes(seen)] == [False, True, False]
    assert seen.runs() == [[0], [2]]
