"""Recording to a file."""

import errno
import io
import sys
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks.file import FileSink
from mimicam.engine.sinks.video_writer import VideoWriter, h264_encoder
from mimicam.engine.types import Frame
from tests.videos import grey, levels


def _frame(seq: int, level: int, at_s: float) -> Frame:
    return Frame(image=grey(level), seq=seq, captured_ns=5_000_000_000 + round(at_s * 1e9))


class FullDisk(io.FileIO):
    """A file on a disk with room for a few bytes."""

    room = 3000

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def _open_on_full_disk(path: Path) -> IO[bytes]:
    return FullDisk(path, "w+")  # type: ignore[return-value]


def test_frames_are_written_in_order_at_their_capture_times(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    sink.open((64, 48), 25)
    for seq, (level, at_s) in enumerate([(40, 0.0), (80, 0.04), (160, 0.24)]):
        sink.write(_frame(seq, level, at_s))
    sink.close()
    assert levels(tmp_path / "out.mp4") == pytest.approx([40, 80, 160], abs=3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [float(f.time) for f in container.decode(video=0) if f.time is not None]
    assert times == pytest.approx([0.0, 0.04, 0.24], abs=0.001)


def test_the_file_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    sink.open((64, 48), 25)
    sink.write(_frame(0, 10, 0))
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    sink.close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    sink.open((64, 48), 25)
    sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.avi"])
def test_the_file_says_that_it_is_synthetic(tmp_path: Path, name: str) -> None:
    sink = FileSink(tmp_path / name)
    sink.open((64, 48), 25)
    sink.write(_frame(0, 90, 0.0))
    sink.close()
    with av.open(str(tmp_path / name)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert tags["comment"].startswith("Synthetic")
    assert tags["comment"].endswith("/digitalsourcetype/compositeWithTrainedAlgorithmicMedia")


def test_a_full_disk_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4", open_file=_open_on_full_disk)
    sink.open((64, 48), 25)
    rng = np.random.default_rng(1)

    def fill() -> None:
        for seq in range(200):
            noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
            sink.write(Frame(image=noise, seq=seq, captured_ns=seq * 40_000_000))
        sink.close()

    with pytest.raises(EngineError, match=r"the disk is full while writing .*out\.mp4; free some space"):
        fill()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_harm_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"the older one")
    writer = VideoWriter(tmp_path / "out.mp4", size=(64, 48), fps=25, open_file=_open_on_full_disk)

    def fill() -> None:
        for i in range(200):
            noise = np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)
            writer.write(noise, i / 25)

    with pytest.raises(EngineError, match="disk is full"):
        fill()
    assert (tmp_path / "out.mp4").read_bytes() == b"the older one"


def test_a_folder_that_is_missing_is_refused_before_anything_runs(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "nowhere" / "out.mp4")
    with pytest.raises(EngineError, match="choose a folder that exists"):
        sink.open((64, 48), 25)
    sink.close()


def test_a_name_without_a_video_suffix_is_refused() -> None:
    with pytest.raises(EngineError, match=r"names no video format .* end it in \.mp4"):
        FileSink(Path("out.docx"))


def test_without_h264_the_file_is_mpeg4(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=30, encoder="mpeg4")
    writer.write(grey(90), 0.0)
    writer.finish()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert levels(tmp_path / "a.mp4") == pytest.approx([90], abs=3)


@pytest.mark.skipif(sys.platform != "linux", reason="the wheels of other systems choose other encoders")
def test_the_linux_wheel_of_pyav_has_h264() -> None:
    assert h264_encoder() == "libx264"


def test_an_odd_size_is_written_one_pixel_smaller(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", size=(65, 49), fps=30)
    writer.write(np.zeros((49, 65, 3), np.uint8), 0.0)
    writer.finish()
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64, 48)
