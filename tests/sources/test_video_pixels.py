"""What a container says about its pixels: which stream, what shape, what colours."""

import gc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks.video_writer import VideoWriter
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Image
from tests.videos import grey

RED, GREEN, BLUE = (200, 40, 30), (30, 180, 60), (40, 60, 210)


def _patches(width: int, height: int) -> Image:
    """Return red above green (left) and blue (right)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = RED
    image[height // 2 :, : width // 2] = GREEN
    image[height // 2 :, width // 2 :] = BLUE
    return image


def _stream(out: Any, size: tuple[int, int], codec: str = "libx264") -> Any:
    stream = out.add_stream(codec, rate=25)
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.options = {} if codec == "mjpeg" else {"crf": "5"}
    return stream


def _put(out: Any, stream: Any, image: Image, count: int = 3, **colours: int) -> None:
    for _ in range(count):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format=stream.pix_fmt, src_color_range=2, **colours
        )
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _first(path: Path) -> Image:
    return next(iter(VideoFile(path))).image


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    ("aspect", "stored", "shown"),
    [
        (Fraction(4, 3), (144, 108), (192, 108)),
        (Fraction(8, 9), (144, 96), (144, 108)),
        (Fraction(64, 45), (90, 72), (128, 72)),
        (Fraction(1), (96, 64), (96, 64)),
        (Fraction(100), (96, 64), (96, 64)),
    ],
    ids=str,
)
def test_pixels_become_square(
    suffix: str, aspect: Fraction, stored: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as out:
        stream = _stream(out, stored)
        stream.codec_context.sample_aspect_ratio = aspect
        _put(out, stream, _patches(*stored))
    image = _first(path)
    assert image.shape == (shown[1], shown[0], 3)
    assert np.abs(image.astype(int) - _patches(*shown)).mean() < 8


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_are_turned_and_mirrored_as_stated(degrees: int, mirrored: bool, tmp_path: Path) -> None:
    upright = _patches(96, 64)
    turned = np.rot90(upright, degrees // 90)
    want = turned[:, ::-1] if mirrored else turned
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = _stream(out, (96, 64))
        stream.set_display_rotation(degrees, hflip=mirrored)
        _put(out, stream, upright)
    image = _first(path)
    assert image.shape == want.shape
    assert np.abs(image.astype(int) - want).mean() < 8


def test_a_turned_picture_has_square_pixels_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = _stream(out, (144, 108))
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)
        _put(out, stream, grey(90, (144, 108)))
    assert _first(path).shape == (192, 108, 3)


def _two_tracks(path: Path, *, sizes: list[tuple[int, int]], default: int | None) -> Path:
    """Write one track per size, each with a grey level of its own: 50, 150."""
    with av.open(str(path), "w") as out:
        streams = [_stream(out, size) for size in sizes]
        for index, stream in enumerate(streams):
            chosen = default is None or index == default
            stream.disposition = Disposition.default if chosen else Disposition(0)
        for index, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
            _put(out, stream, grey(50 + 100 * index, size))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    ("sizes", "default", "shown"),
    [
        ([(64, 48), (96, 64)], 1, 1),
        ([(64, 48), (96, 64)], 0, 0),
        ([(64, 48), (96, 64)], None, 1),
        ([(96, 64), (64, 48)], None, 0),
        ([(96, 64), (64, 48)], 1, 1),
    ],
    ids=str,
)
def test_the_default_track_is_shown_and_the_largest_of_several(
    suffix: str, sizes: list[tuple[int, int]], default: int | None, shown: int, tmp_path: Path
) -> None:
    image = _first(_two_tracks(tmp_path / f"a{suffix}", sizes=sizes, default=default))
    assert image.shape[1::-1] == sizes[shown]
    assert abs(float(image.mean()) - 50 - 100 * shown) < 4


def _with_cover(path: Path, *, film: bool) -> Path:
    with av.open(str(path), "w") as out:
        cover = _stream(out, (320, 320), "mjpeg")
        cover.disposition = Disposition.attached_pic
        stream = _stream(out, (64, 48)) if film else None
        tone = out.add_stream("aac", rate=16000, layout="mono")
        _put(out, cover, grey(220, (320, 320)), count=1)
        if stream is not None:
            _put(out, stream, grey(60), count=50)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        out.mux(tone.encode(sound))
        out.mux(tone.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_cover_is_not_the_film(suffix: str, tmp_path: Path) -> None:
    video = VideoFile(_with_cover(tmp_path / f"a{suffix}", film=True))
    images = [timed.image for timed in video]
    assert len(images) == 50
    assert images[0].shape == (48, 64, 3)
    assert video.fault == ""


def test_sound_with_a_cover_is_only_sound(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no video in it, only sound"):
        VideoFile(_with_cover(tmp_path / "a.mp4", film=False))


@pytest.mark.parametrize("size", [(96, 64), (1280, 720)], ids=str)
@pytest.mark.parametrize(("code", "swscale"), [(1, 1), (6, 5), (9, 9)], ids=["709", "601", "2020"])
@pytest.mark.parametrize("value_range", [1, 2], ids=["limited", "full"])
def test_colours_are_read_as_stated(
    size: tuple[int, int], code: int, swscale: int, value_range: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = _stream(out, size)
        stream.codec_context.colorspace, stream.codec_context.color_range = code, value_range
        _put(out, stream, _patches(*size), dst_colorspace=swscale, dst_color_range=value_range)
    assert np.abs(_first(path).astype(int) - _patches(*size)).mean() < 4


@pytest.mark.parametrize(
    ("size", "swscale"), [((96, 64), 5), ((720, 576), 5), ((1280, 720), 1), ((1080, 1920), 1)], ids=str
)
def test_colours_without_a_tag_are_read_as_players_do(
    size: tuple[int, int], swscale: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = _stream(out, size)
        _put(out, stream, _patches(*size), dst_colorspace=swscale, dst_color_range=1)
    assert np.abs(_first(path).astype(int) - _patches(*size)).mean() < 4


def test_mjpeg_is_full_range(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        _put(out, _stream(out, (96, 64), "mjpeg"), grey(250, (96, 64)), dst_color_range=2)
    assert abs(float(_first(path).mean()) - 250) < 2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize(("size", "matrix"), [((96, 64), 6), ((1280, 720), 1)], ids=str)
def test_results_state_their_colours_and_keep_them(
    suffix: str, size: tuple[int, int], matrix: int, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    writer = VideoWriter(path, size=size, fps=25)
    for number in range(4):
        writer.write(_patches(*size), number / 25)
    writer.finish()
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        stated = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    assert stated == (1, matrix, 1, 1)
    assert np.abs(_first(path).astype(int) - _patches(*size)).mean() < 4


@pytest.mark.parametrize("fps", [24.0, 29.97, 30.0, 12.5])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_results_claim_their_rate(suffix: str, fps: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    writer = VideoWriter(path, size=(96, 64), fps=fps)
    for number in range(60):
        writer.write(grey(number, (96, 64)), number / fps)
    writer.finish()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate or 0) == pytest.approx(fps, rel=2e-3)
        assert float(stream.base_rate or 0) == pytest.approx(fps, rel=2e-3)
    assert len(list(VideoFile(path))) == 60


def test_a_pause_stays_a_pause_in_an_avi(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = VideoWriter(path, size=(96, 64), fps=25)
    for time_s in (0.0, 0.04, 1.04, 1.05, 1.08):
        writer.write(grey(90, (96, 64)), time_s)
    writer.finish()
    with av.open(str(path)) as container:
        ticks = [packet.dts for packet in container.demux(video=0) if packet.dts is not None]
    assert ticks == [0, 1, 26, 27, 28], "25 ticks a second"


def test_frames_leave_no_cycles_behind(tmp_path: Path) -> None:
    left = []
    for count in (2, 30):
        with av.open(str(tmp_path / f"{count}.mp4"), "w") as out:
            _put(out, _stream(out, (96, 64)), _patches(96, 64), count)
        video = VideoFile(tmp_path / f"{count}.mp4")
        gc.collect()
        gc.disable()
        try:
            assert len(list(video)) == count
            left.append(gc.collect())
        finally:
            gc.enable()
    assert left[0] == left[1], "every frame stays in memory until Python collects cycles"


def test_no_frame_outlives_its_pass_through_a_file(tmp_path: Path) -> None:
    """A video that loops kept one frame for each pass."""
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        _put(out, _stream(out, (96, 64)), _patches(96, 64), 5)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            assert len(list(VideoFile(tmp_path / "a.mp4"))) == 5
        kept = [one for one in gc.get_objects() if type(one) is VideoFrame and one.width == 96]
    finally:
        gc.enable()
    assert not kept, "it stays until Python collects cycles"
