"""Decode a video file: every picture with its time, whatever the file does wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image
from mimicam.engine.video_container import PictureReader, main_video, open_container

NOMINAL_FPS = 25.0
"""For files that state no rate."""
_RATE_MAX = 240.0
_DAMAGED_IN_A_ROW = 100
"""Packets that cannot be decoded, one after the other, at which the rest is given up."""
_TRUNCATED_SHARE = 0.9
_TRUNCATED_S = 1.0
"""A file is called truncated when it ends this much before the end it states, in share and in
seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A picture and when the file wants it shown."""

    image: Image
    """uint8 ``[H, W, 3]``, RGB."""
    time_s: float
    """Seconds since the file's first picture; strictly increasing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTimed:
    """A frame as the file stores it: own pixel format, not turned upright."""

    frame: VideoFrame
    time_s: float
    """See `Timed.time_s`."""


class VideoFile:
    """An open video. Iterating decodes it once, from the start, at the size of the first
    picture."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its properties.

        Raises:
            EngineError: missing, empty, not a video, no permission.
        """
        self.path = path
        self._container, self._stream = _open(path)
        # Decoding by frames and slices: 4K needs more than one core.
        self._stream.thread_type = "AUTO"
        self.fps = _rate(self._stream)
        self.duration_s = _duration_s(self._container, self._stream)
        """Stated by the file; 0 when it states none."""
        self.fault = ""
        """One line on what is missing, once the file was decoded; empty if nothing is."""
        self.sample_aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        """Width of a stored pixel divided by its height."""

    @property
    def frame_count(self) -> int | None:
        """About how many pictures there are; None when the file does not say."""
        # AVI counts ticks there, not pictures.
        stated = 0 if self._container.format.name == "avi" else self._stream.frames
        return stated or round(self.duration_s * self.fps) or None

    def __iter__(self) -> Iterator[Timed]:
        """Decode as far as the file can be read, then set ``fault``.

        Raises:
            EngineError: there is not a single picture.
        """
        convert = PictureReader(self._stream)
        for raw in self.raw():
            yield Timed(image=convert(raw.frame), time_s=raw.time_s)

    def raw(self) -> Iterator[RawTimed]:
        """Decode without converting; see `__iter__`."""
        times = _Times(1.0 / self.fps)
        packets = _Packets(self._container, self._stream)
        for frame in packets:
            yield RawTimed(frame=frame, time_s=times.next(frame.time))
        if times.count == 0:
            found = f" that can be decoded ({packets.reason})" if packets.reason else ""
            raise EngineError(f"{self.path} holds no pictures{found}; choose another video")
        self.fault = self._fault_of(packets, times.last_s + 1.0 / self.fps)

    def close(self) -> None:
        """Close the video file."""
        self._container.close()

    def _fault_of(self, packets: _Packets, end_s: float) -> str:
        if packets.gave_up:
            return f"{self.path} is damaged ({packets.reason}) behind {end_s:.1f} seconds: the picture ends there"
        # The second check reads the whole file, so it waits for the first.
        if self._is_short(end_s) and self._is_short(_reached_s(self.path)):
            return (
                f"{self.path} ends after {end_s:.1f} of {self.duration_s:.1f} seconds: it is truncated; "
                "copy or download it again for the rest"
            )
        if packets.damaged:
            return f"{packets.damaged} damaged pictures of {self.path} are left out"
        return ""

    def _is_short(self, end_s: float) -> bool:
        return end_s < _TRUNCATED_SHARE * self.duration_s and end_s < self.duration_s - _TRUNCATED_S


class _Packets:
    """Decodes a stream packet by packet. Damage costs the pictures that it concerns."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self._in_a_row = 0
        self.damaged = 0
        """Number of packets that could not be decoded."""
        self.reason = ""
        """Last error of the decoder."""

    @property
    def gave_up(self) -> bool:
        """Whether decoding ended because too much in a row is damaged."""
        return self._in_a_row >= _DAMAGED_IN_A_ROW

    def __iter__(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while not self.gave_up:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
            except av.error.FFmpegError as error:
                self._note(error)
                packets = self._container.demux(self._stream)  # an error ended the iterator
                continue
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:
                self._note(error)
                continue
            # A packet without a frame proves nothing: decoders hold frames back.
            self._in_a_row = 0 if frames else self._in_a_row
            yield from frames

    def _note(self, error: av.error.FFmpegError) -> None:
        self.reason = error.strerror or str(error)
        self.damaged += 1
        self._in_a_row += 1


def _reached_s(path: Path) -> float:
    """Return where the last packet of any stream ends, seconds as `_duration_s` counts them.

    A file is whole when its sound goes on, when its last picture stays, or when it does not begin
    at zero.
    """
    reached_s, start_s = 0.0, 0.0
    try:
        with open_container(path) as container:
            start_s = _origin_s(container)
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    reached_s = max(
                        reached_s, float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    )
    except av.error.FFmpegError:
        pass  # as far as it can be read
    return reached_s - start_s


class _Times:
    """The file's own times where they make sense, the nominal rate where they do not."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._first_s: float | None = None
        self.last_s = 0.0
        self.count = 0

    def next(self, stated_s: float | None) -> float:
        """Seconds since the first picture, later than the one before."""
        if self.count:
            nominal_s = self.last_s + self._period_s
            first_s = self._first_s
            # Times that stand still or go back come from edits and broken muxers.
            usable = stated_s is not None and first_s is not None and stated_s - first_s > self.last_s
            self.last_s = stated_s - first_s if usable else nominal_s  # type: ignore[operator]
        else:
            self._first_s = stated_s
        self.count += 1
        return self.last_s


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    check_readable(path)
    try:
        container = open_container(path)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EngineError(
            f"{path} is not a video that can be read ({reason}); give an MP4, MOV, MKV or WebM file"
        ) from error
    stream = main_video(container)
    if stream is None:
        kind = ", only sound" if container.streams.audio else ""
        container.close()
        raise EngineError(f"{path} has no video in it{kind}; choose another file")
    if stream.codec_context is None:
        container.close()
        raise EngineError(f"{path} is in a format that is unknown here; convert it to MP4")
    return container, stream


def check_readable(path: Path) -> None:
    """A file that is there, may be read and is not empty.

    Raises:
        EngineError: it is not.
    """
    if not path.exists():
        raise EngineError(f"there is no file {path}; check the path")
    if path.is_dir():
        raise EngineError(f"{path} is a folder; give a video or a picture")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if empty:
        raise EngineError(f"{path} is empty; copy or download it again")


def _rate(stream: VideoStream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        # Files state rates such as 90,000, the ticks of their clock.
        if rate and 0 < float(rate) <= _RATE_MAX:
            return float(rate)
    return NOMINAL_FPS


def _origin_s(container: InputContainer) -> float:
    """Return the time from which a file's length counts, in seconds as its packets count them.

    Matroska states where it ends. Other containers state how long they are, or where they end.
    With 0, a file that starts late is never taken for truncated.
    """
    start = container.start_time if "matroska" in container.format.name else None
    return start / av.time_base if start else 0.0


def _duration_s(container: InputContainer, stream: VideoStream) -> float:
    if container.format.name == "avi" and stream.frames and stream.time_base:
        # FFmpeg shortens the duration of a truncated AVI. The header counts ticks, not pictures.
        return float(stream.frames * stream.time_base)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if not container.duration:
        return 0.0
    return max(container.duration / av.time_base - _origin_s(container), 0.0)


def to_picture(frame: VideoFrame, size: tuple[int, int]) -> Image:
    """Return an upright RGB picture of a frame; ``size``: stored width and height."""
    image: Image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])  # type: ignore[assignment]
    return _upright(image, frame)


def quarter_turns(frame: VideoFrame) -> int:
    """Return the counter-clockwise quarter turns that set a frame upright, 0 to 3."""
    return round(frame.rotation / 90) % 4


def _upright(image: Image, frame: VideoFrame) -> Image:
    """Turn pictures of phones held sideways; the file stores the angle, counter-clockwise."""
    turns = quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
