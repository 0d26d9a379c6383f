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

NOMINAL_FPS = 25.0
"""For files that state no rate."""
_RATE_MAX = 240.0
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
    """An open video. Iterating decodes it once, from the start, at the size of the first picture."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its properties.

        Raises:
            EngineError: missing, empty, not a video, no permission.
        """
        self.path = path
        self._container, self._stream = _open(path)
        self._stream.thread_type = "AUTO"
        self.fps = _rate(self._stream)
        self.duration_s = _duration_s(self._container, self._stream)
        """Stated by the file; 0 when it states none."""
        self.sample_aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        """Width of a stored pixel divided by its height."""

    @property
    def frame_count(self) -> int | None:
        """About how many pictures there are; None when the file does not say."""
        return self._stream.frames or round(self.duration_s * self.fps) or None

    def __iter__(self) -> Iterator[Timed]:
        """Decode.

        Raises:
            EngineError: damaged, truncated, or without a single picture.
        """
        size: tuple[int, int] | None = None
        for raw in self.raw():
            size = size or (raw.frame.width, raw.frame.height)
            yield Timed(image=to_picture(raw.frame, size), time_s=raw.time_s)

    def raw(self) -> Iterator[RawTimed]:
        """Decode without converting; see `__iter__`."""
        times = _Times(1.0 / self.fps)
        for frame in self._decoded():
            yield RawTimed(frame=frame, time_s=times.next(frame.time))
        self._check_complete(times)

    def close(self) -> None:
        """Close the video file."""
        self._container.close()

    def _decoded(self) -> Iterator[VideoFrame]:
        try:
            yield from self._container.decode(self._stream)
        except av.error.FFmpegError as error:
            raise EngineError(
                f"{self.path} is damaged ({error.strerror}); copy or convert it again"
            ) from error

    def _check_complete(self, times: _Times) -> None:
        if times.count == 0:
            raise EngineError(f"{self.path} holds no pictures; choose another video")
        end_s = times.last_s + 1.0 / self.fps
        if self._is_short(end_s) and self._is_short(_reached_s(self.path)):
            raise EngineError(
                f"{self.path} ends after {end_s:.1f} of {self.duration_s:.1f} seconds: it is truncated; "
                "copy or download it again"
            )

    def _is_short(self, end_s: float) -> bool:
        return end_s < _TRUNCATED_SHARE * self.duration_s and end_s < self.duration_s - _TRUNCATED_S


def _reached_s(path: Path) -> float:
    """Where the last packet of any stream ends, seconds as the file counts them.

    A file is whole when its sound goes on, when its last picture stays, or when it does not begin
    at zero.
    """
    reached_s = 0.0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    reached_s = max(
                        reached_s, float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    )
    except av.error.FFmpegError:
        pass  # as far as it can be read
    return reached_s


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
            usable = stated_s is not None and first_s is not None and stated_s - first_s > self.last_s
            self.last_s = stated_s - first_s if usable else nominal_s  # type: ignore[operator]
        else:
            self._first_s = stated_s
        self.count += 1
        return self.last_s


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    check_readable(path)
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise EngineError(
            f"{path} is not a video that can be read ({error.strerror}); give an MP4, MOV, MKV or WebM file"
        ) from error
    if not container.streams.video:
        kind = ", only sound" if container.streams.audio else ""
        container.close()
        raise EngineError(f"{path} has no video in it{kind}; choose another file")
    return container, container.streams.video[0]


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
        if rate and 0 < float(rate) <= _RATE_MAX:
            return float(rate)
    return NOMINAL_FPS


def _duration_s(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


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
