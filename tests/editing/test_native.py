"""The source's own samples: unchanged bit for bit, changed by the edit's difference."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.editing.native import NativeFrames
from mimicam.engine.sinks.video_writer import h264_encoder, supports
from mimicam.engine.types import Image

ENCODER = h264_encoder() or "mpeg4"
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "rgb24"]


def soft_picture(width: int = 96, height: int = 64) -> Image:
    rng = np.random.default_rng(1)
    rough = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def stored(image: Image, pix_fmt: str, *, colorspace: int = 2) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    if pix_fmt != "rgb24":
        frame = frame.reformat(format=pix_fmt, dst_colorspace=None if colorspace == 2 else colorspace)
    frame.colorspace = colorspace if pix_fmt != "rgb24" else 0
    return frame


def bytes_of(frame: av.VideoFrame) -> list[bytes]:
    return [bytes(plane) for plane in frame.planes]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_an_unedited_frame_keeps_its_samples(pix_fmt: str) -> None:
    frame = stored(soft_picture(), pix_fmt)
    frames = NativeFrames(frame, ENCODER)
    result = frames.start(frame).finish()
    assert result.format.name == frames.pix_fmt
    expected = frame if frames.keeps(frame) else frame.reformat(format=frames.pix_fmt)
    for got, wanted in zip(result.planes, expected.planes, strict=True):
        rows = [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in (got, wanted)]
        np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize("colorspace", [1, 5])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p", "yuv420p10le"])
def test_an_edit_appears_with_the_colours_it_was_given(pix_fmt: str, colorspace: int) -> None:
    image = soft_picture()
    after = image.copy()
    rows, columns = slice(10, 50), slice(16, 80)
    after[rows, columns] = np.clip(image[rows, columns].astype(int) // 2 + [60, 20, 40], 0, 255)
    frame = stored(image, pix_fmt, colorspace=colorspace)
    native = NativeFrames(frame, ENCODER).start(frame)
    native.add(image, after, rows, columns)
    result = native.finish()
    shown, wanted = (
        f.to_ndarray(format="rgb24") for f in (result, stored(after, pix_fmt, colorspace=colorspace))
    )
    difference = np.abs(shown.astype(int) - wanted)
    assert difference.mean() < 1.5, "as if the edited picture had been stored"
    assert np.percentile(difference, 99) <= 8


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turned_frame_is_stored_upright(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimicam.engine.editing.native.quarter_turns", lambda _: turns)
    image = soft_picture()
    frame = stored(image, "yuv420p")
    frames = NativeFrames(frame, ENCODER)
    upright = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    result = frames.start(frame).finish()
    assert (result.width, result.height) == frames.size == upright.shape[1::-1]
    assert np.abs(result.to_ndarray(format="rgb24").astype(int) - upright).mean() < 3


def test_odd_sizes_lose_one_line_and_are_not_resampled() -> None:
    frame = stored(soft_picture(97, 65), "yuv420p")
    result = NativeFrames(frame, ENCODER).start(frame).finish()
    assert (result.width, result.height) == (96, 64)
    kept = np.frombuffer(frame.planes[0], np.uint8).reshape(65, -1)[:64, :96]
    np.testing.assert_array_equal(np.frombuffer(result.planes[0], np.uint8).reshape(64, -1)[:, :96], kept)


def test_ten_bits_stay_ten_bits_where_the_encoder_takes_them() -> None:
    frame = stored(soft_picture(), "yuv420p10le")
    expected = "yuv420p10le" if supports(ENCODER, "yuv420p10le") else "yuv420p"
    assert NativeFrames(frame, ENCODER).pix_fmt == expected
