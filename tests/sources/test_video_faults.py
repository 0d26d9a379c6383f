"""What files do wrong, or only seem to: truncated, damaged, longer than their picture."""

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.errors import EngineError
from mimicam.engine.render import Rendered, render_video
from mimicam.engine.sources.file import play
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Frame, Image
from tests.fake_clock import FakeClock
from tests.videos import grey, levels, write_video


class Same:
    """Draws each frame as it is."""

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, seen: Frame) -> Frame:
        return seen


def _noise(count: int) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(count)]


def _film(path: Path, images: list[Image], codec: str = "mjpeg") -> Path:
    """Write every picture as a key frame, so that damage to one leaves the others alone."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in images:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def test_a_format_that_is_unknown_here_says_so(tmp_path: Path) -> None:
    good = _film(tmp_path / "good.mov", _noise(3)).read_bytes()
    (tmp_path / "a.mov").write_bytes(good.replace(b"jpeg", b"zzzz"))
    with pytest.raises(EngineError, match="in a format that is unknown here; convert it to MP4"):
        VideoFile(tmp_path / "a.mov")


def _copied(
    source: Path, out: Path, change: Callable[[int, bytes], bytes], *, offset_s: float = 0.0, **options: str
) -> Path:
    """Copy a video's packets with changed content."""
    with av.open(str(source)) as a, av.open(str(out), "w", options=options) as b:
        stream = a.streams.video[0]
        copy = b.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in a.demux(stream) if p.dts is not None):
            new = av.Packet(change(number, bytes(packet)))
            shift = round(offset_s / packet.time_base)
            new.pts, new.dts, new.time_base = packet.pts + shift, packet.dts + shift, packet.time_base
            new.duration, new.is_keyframe, new.stream = packet.duration, packet.is_keyframe, copy
            b.mux(new)
    return out


def _unchanged(_number: int, data: bytes) -> bytes:
    return data


def _read(path: Path) -> tuple[int, str]:
    video = VideoFile(path)
    return sum(1 for _ in video), video.fault


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_rendered_part_of_a_truncated_driver_is_kept(suffix: str, share: float, tmp_path: Path) -> None:
    whole = write_video(tmp_path / f"w{suffix}", _noise(100))
    front = (
        _copied(whole, tmp_path / f"f{suffix}", _unchanged, movflags="faststart")
        if suffix == ".mp4"
        else whole
    )
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(front.read_bytes()[: round(front.stat().st_size * share)])
    told: list[str] = []
    steps = render_video(VideoFile(cut), Same(), tmp_path / "out.mp4", size=(64, 48), tell=told.append)
    done = Steps(steps).result()
    assert 100 * share - 12 < done.frames < 100 * share + 12
    assert len(levels(tmp_path / "out.mp4")) == done.frames
    assert told == [done.fault] if done.fault else not told
    if suffix != ".ts":  # a transport stream does not state its length
        assert "cut" in done.fault
        assert "truncated" in done.fault or "damaged" in done.fault


def test_a_truncated_file_that_starts_late_is_noticed(tmp_path: Path) -> None:
    whole = _film(tmp_path / "w.mkv", _noise(100))
    late = _copied(whole, tmp_path / "late.mkv", _unchanged, offset_s=100)
    assert _read(late) == (100, "")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(late.read_bytes()[: late.stat().st_size // 2])
    count, fault = _read(cut)
    assert 40 < count < 60
    assert "of 4.0 seconds: it is truncated" in fault


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".avi", ".ts", ".nut"])
@pytest.mark.parametrize("offset_s", [0.0, 3.0])
def test_a_file_may_start_at_any_time(suffix: str, offset_s: float, tmp_path: Path) -> None:
    source = _film(tmp_path / "a.m2v", [grey(i) for i in range(50)], "mpeg2video")
    late = _copied(source, tmp_path / f"late{suffix}", _unchanged, offset_s=offset_s)
    video = VideoFile(late)
    times = [timed.time_s for timed in video]
    assert video.fault == ""
    assert len(times) == 50
    assert times[-1] == pytest.approx(49 / 25, abs=0.05)
    if suffix == ".mkv":
        assert video.frame_count == pytest.approx(50, abs=2), "the start was counted as pictures"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_last_picture_may_stay(suffix: str, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / f"a{suffix}", [grey(i) for i in range(26)], times_s=[*(i / 25 for i in range(25)), 6.0]
    )
    assert _read(path) == (26, "")


def test_sound_may_go_on_behind_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        film: Any = out.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        tone: Any = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for i in range(25):
            out.mux(film.encode(av.VideoFrame.from_ndarray(grey(i), format="rgb24")))
        out.mux(film.encode(None))
        for i in range(60):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 8000, 800 * i, Fraction(1, 8000)
            out.mux(tone.encode(sound))
        out.mux(tone.encode(None))
    assert _read(path) == (25, "")


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mov", ".nut"])
@pytest.mark.parametrize("damaged", [(0,), (7,), (29,), (3, 4, 5, 6), (2, 11, 20)], ids=str)
def test_a_damaged_picture_costs_itself(suffix: str, damaged: tuple[int, ...], tmp_path: Path) -> None:
    source = _film(tmp_path / f"a{suffix}", [grey(8 * i) for i in range(30)], "mjpeg")
    bad = _copied(
        source, tmp_path / f"b{suffix}", lambda n, data: b"\x17" * len(data) if n in damaged else data
    )
    video = VideoFile(bad)
    got = [round(float(timed.image.mean()) / 8) for timed in video]
    assert got == [i for i in range(30) if i not in damaged]
    assert video.fault == f"{len(damaged)} damaged pictures of {bad} are left out"


def test_what_comes_before_long_damage_is_kept(tmp_path: Path) -> None:
    source = _film(tmp_path / "a.mkv", [grey(i) for i in range(200)], "mjpeg")
    bad = _copied(source, tmp_path / "b.mkv", lambda n, data: b"\x17" * 50 if n >= 40 else data)
    told: list[str] = []
    steps = render_video(VideoFile(bad), Same(), tmp_path / "out.mp4", size=(64, 48), tell=told.append)
    done = Steps(steps).result()
    assert done == Rendered(frames=40, without_face=0, fault=told[0])
    assert "is damaged" in told[0]
    assert "behind 1.6 seconds: the picture ends there" in told[0]
    assert len(levels(tmp_path / "out.mp4")) == 40


def test_a_file_without_any_picture_that_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    source = _film(tmp_path / "a.mkv", [grey(i) for i in range(20)], "mjpeg")
    bad = _copied(source, tmp_path / "b.mkv", lambda _n, data: b"\x17" * len(data))
    with pytest.raises(EngineError, match=r"b\.mkv holds no pictures that can be decoded \(.*\); choose"):
        _read(bad)


def test_a_live_source_plays_a_truncated_file_and_then_says_so(tmp_path: Path) -> None:
    whole = _film(tmp_path / "w.mkv", _noise(100))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = play(tmp_path / "cut.mkv", clock=FakeClock(), read_picture=lambda _: grey(0))
    stop, seen = threading.Event(), []

    def drain() -> None:
        while (frame := source.read(stop)) is not None:
            seen.append(frame.seq)

    with pytest.raises(EngineError, match="it is truncated"):
        drain()
    assert len(seen) > 40
