"""From a crop to a motion, with and without the filter."""

import numpy as np
import pytest

from mimicam.engine.models.compact.reenactor import TrackerEncoder
from mimicam.engine.stages.crop import Crop, portrait_box
from mimicam.engine.types import Face
from tests.stages.material import driver_clip, face_at, first_face, shapes

BOX = portrait_box(face_at(300, 200, 80))
FRAME_NS = 33_333_333


def _crop(face: Face, captured_ns: int) -> Crop:
    return Crop(image=driver_clip()[0], box=BOX, face=face, captured_ns=captured_ns)


def _face(jaw: float, x: float = 300.0) -> Face:
    return Face(landmarks=face_at(x, 200, 80).landmarks, blendshapes=shapes(jawOpen=jaw), presence=1.0)


def test_without_the_filter_a_face_is_read_as_it_is() -> None:
    encode = TrackerEncoder(smooth=False)
    encode(_crop(_face(0.9), 0))
    read = encode(_crop(_face(0.1, 340), 1))
    assert read.expression[25] == np.float32(0.1)
    assert read.pose.translation[0] == pytest.approx(2 * 40 / BOX.size_px, abs=1e-4)


def test_with_the_filter_a_jump_takes_more_than_one_frame() -> None:
    encode = TrackerEncoder()
    encode(_crop(_face(0.1, 300), 0))
    once = encode(_crop(_face(0.1, 310), FRAME_NS))
    want = 2 * 10 / BOX.size_px
    assert 0 < once.pose.translation[0] < want
    for index in range(2, 90):
        last = encode(_crop(_face(0.1, 310), index * FRAME_NS))
    assert last.pose.translation[0] == pytest.approx(want, abs=1e-3)


def test_after_a_reset_the_past_is_forgotten() -> None:
    encode = TrackerEncoder()
    encode(_crop(_face(0.9), 0))
    encode.reset()
    assert encode(_crop(_face(0.1), FRAME_NS)).expression[25] == np.float32(0.1)


def test_a_real_still_face_is_read_alike_every_time() -> None:
    encode = TrackerEncoder()
    box = portrait_box(first_face())
    read = [
        encode(Crop(image=driver_clip()[0], box=box, face=first_face(), captured_ns=i * FRAME_NS))
        for i in range(5)
    ]
    assert all((m.shape == read[0].shape).all() for m in read)
    assert all((m.pose.rotation == read[0].pose.rotation).all() for m in read)
