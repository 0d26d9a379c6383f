"""The drawn face and its time code."""

import threading

import cv2
import numpy as np
import pytest

from mimicam.engine.sources.pattern import PatternSource, paint_code, read_code
from tests.fake_clock import FakeClock


@pytest.mark.parametrize("value", [0, 1, 0b1010101, 2**40 - 1, 1_763_717_000_123_456 % 2**40])
def test_a_painted_number_is_read_back(value: int) -> None:
    image = np.zeros((240, 340, 3), np.uint8)
    paint_code(image, value)
    assert read_code(image) == value


def test_the_code_survives_jpeg_and_chroma_subsampling() -> None:
    image = np.full((480, 640, 3), 77, np.uint8)
    paint_code(image, 987_654_321)
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert ok
    assert read_code(cv2.imdecode(data, cv2.IMREAD_COLOR)) == 987_654_321


def test_a_picture_without_a_code_reads_as_none() -> None:
    assert read_code(np.random.default_rng(3).integers(0, 255, (480, 640, 3), np.uint8)) is None
    assert read_code(np.zeros((8, 8, 3), np.uint8)) is None


def test_a_damaged_code_is_not_taken_for_another_number() -> None:
    image = np.zeros((240, 340, 3), np.uint8)
    paint_code(image, 5)
    image[10:20, 10:20] = 255 - image[10:20, 10:20]
    assert read_code(image) is None


def test_frames_carry_their_own_capture_time() -> None:
    source = PatternSource(clock=FakeClock(), fps=30)
    stop = threading.Event()
    frames = [source.read(stop) for _ in range(3)]
    assert [read_code(f.image) for f in frames if f] == [f.captured_ns // 1000 for f in frames if f]
    assert len({f.image.tobytes() for f in frames if f}) == 3, "the face does not move"


def test_a_stopped_pattern_gives_nothing() -> None:
    stop = threading.Event()
    stop.set()
    assert PatternSource(clock=FakeClock()).read(stop) is None


def test_a_size_without_room_for_the_code_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        PatternSource(clock=FakeClock(), size=(320, 240))
