"""Video files and sound tracks: rendered completely, or refused in one line."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from hypothesis import assume
from hypothesis import strategies as st

from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.errors import EngineError
from mimicam.engine.render import Rendered, render_video
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Frame
from tests.fuzz.mutate import changed_bytes, check_line, seeds

_SIZE = (32, 32)


class _Same:
    """Draws each picture in the result's size."""

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, seen: Frame) -> Frame:
        image = seen.image[: _SIZE[1], : _SIZE[0]]
        padded = image.copy()
        padded.resize((_SIZE[1], _SIZE[0], 3), refcheck=False)
        return replace(seen, image=padded)


def _render(driver: Path, out: Path) -> Rendered | None:
    """Render, and check that the result is complete or absent. None: the driver is refused."""
    try:
        done = Steps(render_video(VideoFile(driver), _Same(), out, size=_SIZE)).result()
    except EngineError as error:
        check_line(error)
        assert list(out.parent.iterdir()) == [driver], "a refused driver leaves no file"
        return None
    assert set(out.parent.iterdir()) == {driver, out}, "a temporary file is left"
    assert sum(1 for _ in VideoFile(out).raw()) == done.frames, "the result has all pictures"
    return done


def changed_videos() -> st.SearchStrategy[tuple[str, bytes]]:
    """Return suffixes and contents of changed video files."""
    files = [(path.suffix, path.read_bytes()) for path in seeds("video")]
    return st.sampled_from(files).flatmap(lambda file: st.tuples(st.just(file[0]), changed_bytes(file[1])))


def check_video(folder: Path, example: tuple[str, bytes]) -> None:
    """Render a changed video."""
    suffix, content = example
    driver = folder / f"driver{suffix}"
    driver.write_bytes(content)
    _render(driver, folder / "out.mp4")


@st.composite
def changed_sounds(draw: st.DrawFn) -> tuple[str, str, list[tuple[int, bytes]]]:
    """Return a seed, the suffix of a result, and times (ms) and contents of its sound's packets."""
    path = draw(st.sampled_from(seeds("sound")))
    packets, step = [], draw(st.sampled_from((0, 20, 1000, -20)))
    for index, content in enumerate(_sound_packets(path)[:6]):
        at = draw(st.sampled_from((index * 20, index * step, 0, 10**7)) | st.integers(-(10**6), 10**6))
        packets.append((at, draw(changed_bytes(content, most=2))))
    return path.name, draw(st.sampled_from((".mp4", ".mkv", ".mov", ".avi"))), packets


def check_sound(folder: Path, example: tuple[str, str, list[tuple[int, bytes]]]) -> None:
    """Render a good video with changed sound: the sound never costs a picture."""
    name, suffix, packets = example
    driver = folder / f"driver{Path(name).suffix}"
    pictures = _with_sound(next(path for path in seeds("sound") if path.name == name), driver, packets)
    done = _render(driver, folder / f"out{suffix}")
    assert done is not None, "sound costs no picture"
    assert done.frames == pictures


def _sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def _with_sound(seed: Path, out: Path, packets: list[tuple[int, bytes]]) -> int:
    """Copy a seed's pictures, with other packets as its sound. Returns the number of pictures."""
    pictures = 0
    with av.open(str(seed)) as source, av.open(str(out), "w") as container:
        video, sound = source.streams.video[0], source.streams.audio[0]
        copies: dict[Any, Any] = {
            stream: container.add_stream_from_template(stream) for stream in (video, sound)
        }
        for packet in source.demux(video):
            if packet.size:
                pictures, packet.stream = pictures + 1, copies[video]
                container.mux(packet)
        for at_ms, content in packets:
            packet = av.Packet(content)
            packet.stream, packet.time_base = copies[sound], Fraction(1, 1000)
            packet.pts = packet.dts = at_ms
            try:
                container.mux(packet)
            except (av.FFmpegError, ValueError):  # this container cannot hold such times
                assume(False)
    return pictures
