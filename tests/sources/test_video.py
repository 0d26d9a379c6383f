"""Decoding videos, broken ones too."""

from pathlib import Path

import av
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sources.video import VideoFile, _Times
from tests.videos import grey, write_video


def _all(path: Path) -> list[tuple[tuple[int, ...], float]]:
    return [(timed.image.shape, timed.time_s) for timed in VideoFile(path)]


def test_every_picture_comes_with_the_files_own_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(i * 40) for i in range(4)], times_s=[0.0, 0.1, 0.5, 0.6])
    got = list(VideoFile(path))
    assert [t.time_s for t in got] == pytest.approx([0.0, 0.1, 0.5, 0.6], abs=0.002)
    assert [round(float(t.image.mean()) / 40) for t in got] == [0, 1, 2, 3]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no file .*nowhere\.mp4; check the path"):
        VideoFile(tmp_path / "nowhere.mp4")


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(EngineError, match=r"a\.mp4 is empty"):
        VideoFile(tmp_path / "a.mp4")


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is a folder"):
        VideoFile(tmp_path)


def test_something_else_with_a_video_name_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"these are words, not a film. " * 100)
    with pytest.raises(EngineError, match=r"not a video that can be read .*; give an MP4"):
        VideoFile(tmp_path / "a.mp4")


def test_a_video_cut_off_before_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [grey(i) for i in range(50)]).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"cut\.mp4 is not a video that can be read"):
        VideoFile(tmp_path / "cut.mp4")


def test_a_video_cut_off_behind_its_index_says_where_it_ends(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(100)]
    source = write_video(tmp_path / "whole.mp4", noise)
    front = tmp_path / "front.mp4"
    with av.open(str(source)) as a, av.open(str(front), "w", options={"movflags": "faststart"}) as b:
        copy = b.add_stream_from_template(a.streams.video[0])
        for packet in a.demux(a.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                b.mux(packet)
    data = front.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    video = VideoFile(tmp_path / "cut.mp4")
    assert 40 < len(list(video)) < 75
    assert "of 4.0 seconds: it is truncated" in video.fault or "is damaged" in video.fault


def test_a_video_without_a_single_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    with pytest.raises(EngineError, match="holds no pictures"):
        _all(path)


def test_a_container_without_any_stream_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        out.start_encoding()  # and not one picture: the file then lists no stream
    with pytest.raises(EngineError, match=r"none\.mp4 has no video in it; choose another"):
        VideoFile(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(EngineError, match="only sound"):
        VideoFile(path)


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.m4v", [grey(50)] * 3)
    second = write_video(tmp_path / "b.m4v", [grey(200, (128, 96))] * 3)
    path = tmp_path / "both.m4v"
    _append_raw(first, second, path)
    shapes = [shape for shape, _ in _all(path)]
    assert len(shapes) == 6
    assert set(shapes) == {(48, 64, 3)}


def test_pictures_without_times_come_at_the_nominal_rate(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.m4v", [grey(i * 20) for i in range(5)])
    path = tmp_path / "raw.m4v"
    _append_raw(first, None, path)
    video = VideoFile(path)
    times = [timed.time_s for timed in video]
    assert len(times) == 5
    assert np.diff(times) == pytest.approx(1.0 / video.fps, abs=1e-6)


def test_times_that_run_backwards_become_the_nominal_rate() -> None:
    times = _Times(0.04)
    got = [times.next(stated) for stated in (7.0, 7.04, 7.01, None, 7.2)]
    assert got == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.2])


def _append_raw(first: Path, second: Path | None, out: Path) -> None:
    """MPEG-4 packets one behind the other, without a container: no times, and headers in mid-stream."""
    data = b""
    for path in filter(None, (first, second)):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            data += stream.codec_context.extradata or b""
            for packet in container.demux(stream):
                data += bytes(packet)
    out.write_bytes(data)
