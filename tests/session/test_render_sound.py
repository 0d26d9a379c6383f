"""Sound: copied where the container allows, else re-encoded, else left out with a message.

It never costs pictures.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.errors import EngineError
from mimicam.engine.render import Rendered, render_video
from mimicam.engine.sinks.video_writer import VideoWriter
from mimicam.engine.sound import _Clock, _Copy, _Track
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Frame
from tests.videos import grey

_RATE = 16000
_SECONDS = 2


class Same:
    """Pipeline that returns every picture unchanged."""

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, seen: Frame) -> Frame:
        return replace(seen)


def _driver(
    path: Path, codec: str, *, layout: str = "mono", seconds: float = _SECONDS, start_s: float = 0.0
) -> Path:
    """Two seconds of pictures at 25 Hz with a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream(codec, rate=_RATE, layout=layout)
        if codec == "wmav2":
            sound.bit_rate = 32_000  # its default is not valid
        for index in range(25 * _SECONDS):
            frame = av.VideoFrame.from_ndarray(grey(60 + index), format="rgb24")
            frame.pts, frame.time_base = index + round(start_s * 25), Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for packet in _tone(sound, seconds, start_s):
            out.mux(packet)
    return path


def _tone(sound: av.AudioStream, seconds: float, start_s: float) -> list[av.Packet]:
    size = sound.codec_context.frame_size or 1024
    resampler = av.AudioResampler(sound.format, sound.layout, _RATE, size)
    wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * _RATE)) / _RATE)).astype(np.float32)[
        None
    ]
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = _RATE, round(start_s * _RATE), Fraction(1, _RATE)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for each in (*frames, None) for packet in sound.encode(each)]


def _render(driving: Path, out: Path) -> tuple[Rendered, list[str]]:
    told: list[str] = []
    steps = render_video(VideoFile(driving), Same(), out, size=(64, 48), tell=told.append)
    return Steps(steps).result(), told


def _sound_of(path: Path) -> tuple[str, float]:
    """Return the codec, and the seconds of decoded sound that is not silent."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        heard = [
            (frame.samples / frame.sample_rate, float(np.abs(frame.to_ndarray().astype(np.float64)).max()))
            for frame in container.decode(stream)
        ]
        limit = 0.1 * max(peak for _, peak in heard)
        return stream.codec_context.name, sum(seconds for seconds, peak in heard if peak > limit)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(
    ("driver", "codec", "out", "becomes"),
    [
        # FFmpeg writes PCM into MP4 from version 6 on, and this PyAV only with one channel.
        ("a.mkv", "pcm_s16le", "out.mp4", {"aac", "pcm_s16le"}), ("a.avi", "pcm_s16le", "out.mp4", {"aac", "pcm_s16le"}),
        ("a.mkv", "wavpack", "out.mp4", {"aac"}), ("a.asf", "wmav2", "out.mp4", {"aac"}),
        # Matroska holds these, but PyAV copies only some of them.
        ("a.asf", "wmav2", "out.mkv", {"aac", "wmav2"}), ("a.avi", "adpcm_ima_wav", "out.mkv", {"aac", "adpcm_ima_wav"}),
        ("a.mov", "pcm_mulaw", "out.mkv", {"aac", "pcm_mulaw"}), ("a.mkv", "flac", "out.mkv", {"flac"}),
        ("a.mp4", "aac", "out.mkv", {"aac"}), ("a.ts", "aac", "out.mp4", {"aac"}),
        ("a.mp4", "aac", "out.avi", {"aac", "mp3", "mp3float"}),
    ],
)  # fmt: skip
def test_sound_is_copied_or_re_encoded_as_the_container_needs(
    tmp_path: Path, layout: str, driver: str, codec: str, out: str, becomes: set[str]
) -> None:
    driving = _driver(tmp_path / driver, codec, layout=layout)
    done, told = _render(driving, tmp_path / out)
    assert done.frames >= 25 * _SECONDS - 1
    name, seconds = _sound_of(tmp_path / out)
    assert name in becomes
    assert seconds == pytest.approx(_SECONDS, abs=0.2)
    assert all(len(line.splitlines()) == 1 for line in told)
    assert bool(told) == (name != codec), "what is not copied is said"


@pytest.mark.parametrize("out", ["out.avi", "out.mp4"])
def test_a_pause_of_hours_in_the_sound_costs_no_picture(tmp_path: Path, out: str) -> None:
    paused = tmp_path / "paused.mkv"
    with av.open(str(_driver(tmp_path / "a.mkv", "aac"))) as a, av.open(str(paused), "w") as b:
        copies = {stream: b.add_stream_from_template(stream) for stream in a.streams}
        for packet in a.demux():
            if packet.size and packet.stream.type == "audio" and packet.pts * packet.time_base > 1:
                packet.pts, packet.dts = (time + 10_000_000 for time in (packet.pts, packet.dts))
            if packet.size:
                packet.stream = copies[packet.stream]
                b.mux(packet)
    done, told = _render(paused, tmp_path / out)
    assert done.frames == 25 * _SECONDS
    assert told == ([] if out == "out.mp4" else [f"the sound ends at 1.0 s, where it is damaged ({_PAUSE})"])


_PAUSE = "it pauses for 10000 s, which AVI cannot hold"


def test_two_recordings_put_together_keep_their_sound(tmp_path: Path) -> None:
    one = _driver(tmp_path / "a.ts", "aac").read_bytes()
    (tmp_path / "ab.ts").write_bytes(one + one)
    done, _ = _render(tmp_path / "ab.ts", tmp_path / "out.mp4")
    assert done.frames >= 2 * 25 * _SECONDS - 2
    assert _sound_of(tmp_path / "out.mp4")[1] == pytest.approx(2 * _SECONDS, abs=0.4)


@pytest.mark.parametrize(
    ("name", "seconds", "start_s"),
    [("a.mkv", 3.0 * _SECONDS, 0.0), ("a.mkv", _SECONDS, 100.0), ("a.mp4", 3.0 * _SECONDS, 0.0)],
    ids=["sound goes on", "begins at 100 s", "sound goes on in mp4"],
)
def test_whole_files_are_not_called_truncated(
    tmp_path: Path, name: str, seconds: float, start_s: float
) -> None:
    driving = _driver(tmp_path / name, "aac", seconds=seconds, start_s=start_s)
    done, _ = _render(driving, tmp_path / "out.mp4")
    assert done.frames == 25 * _SECONDS
    assert _sound_of(tmp_path / "out.mp4")[1] == pytest.approx(seconds, abs=0.2)


def test_a_last_picture_that_stays_is_no_truncated_file(tmp_path: Path) -> None:
    driving = _driver(tmp_path / "plain.mkv", "aac")
    with av.open(str(driving)) as source, av.open(str(tmp_path / "held.mp4"), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.dts is not None]
        packets[-1].duration = round(8 / packets[-1].time_base)
        for packet in packets:
            packet.stream = video
            out.mux(packet)
    assert _render(tmp_path / "held.mp4", tmp_path / "out.mp4")[0].frames == 25 * _SECONDS


class _Writer:
    """Counts its packets, and refuses the third one."""

    def __init__(self, refuse: bool) -> None:
        self.count, self._refuse = 0, refuse

    def write(self, packet: object, at_s: float) -> None:  # noqa: ARG002 - the track's contract
        if self._refuse and self.count == 2:
            raise av.error.InvalidDataError(0, "packet refused")
        self.count += 1

    def finish(self) -> None:
        """See `Sound.finish`; no packet is held back."""


@pytest.mark.parametrize(
    "refuse", [False, True], ids=["the demuxer gives up", "the container refuses a packet"]
)
def test_damaged_sound_ends_with_a_line_and_no_error(refuse: bool) -> None:
    def demux(_: object) -> Iterator[SimpleNamespace]:
        for number in range(3):
            yield SimpleNamespace(size=1, dts=number, pts=number, duration=1, time_base=Fraction(1, 10))
        raise av.error.InvalidDataError(0, "a hole in the file")

    video = SimpleNamespace(start_time=0, time_base=Fraction(1, 25))
    source = SimpleNamespace(streams=SimpleNamespace(video=[video]), demux=demux, close=lambda: None)
    told: list[str] = []
    writer = _Writer(refuse)
    track = _Track(source, None, writer, told.append)  # type: ignore[arg-type]
    for time_s in (0.0, 0.1, 0.2, 0.3, 0.4):
        track.write_until(time_s)
    track.finish()
    assert writer.count == (2 if refuse else 3)
    assert len(told) == 1
    assert told[0].startswith(f"the sound ends at 0.{2 if refuse else 3} s, where it is damaged (")


def test_a_full_disk_is_still_an_error(tmp_path: Path) -> None:
    """A full disk affects the pictures too, so it stays an error."""
    writer = VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=25)

    class Full:
        def mux(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            """See `Sound.finish`; nothing is open."""

    writer.container.close()
    writer.container = Full()  # type: ignore[assignment]
    with pytest.raises(EngineError, match="the disk is full while writing"):
        writer.mux_sound(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stated", "want"),
    [
        ([0, 10, 20, 30], [0, 10, 20, 30]), ([0, 10, 10, 30], [0, 10, 11, 30]), ([0, 20, 10, 30], [0, 20, 21, 30]),
        ([None, None, None], [0, 10, 20]), ([0, None, 20], [0, 10, 20]),
        ([0, 1000, 0, 10], [0, 1000, 1010, 1020]),  # joined recordings: it restarts
        ([-5, 5, 15], [-5, 5, 15]),
    ],
    ids=["good", "duplicate", "unsorted", "none", "one missing", "two recordings", "priming"],
)  # fmt: skip
def test_times_rise_whatever_the_file_states(stated: list[int | None], want: list[int]) -> None:
    base, written = Fraction(1, 1000), []
    clock, copy = _Clock(start_s=0.0), _Copy(None, lambda packet: written.append(packet.dts))
    for dts in stated:
        packet = SimpleNamespace(dts=dts, pts=dts, duration=10, time_base=base)
        copy.write(packet, clock.place(None if dts is None else dts / 1000, 0.010))
    assert written == want
