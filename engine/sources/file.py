"""Play a video or a picture as if it were a camera: each frame is delivered when it is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.errors import EngineError
from mimicam.engine.picture_file import PICTURE_SUFFIXES
from mimicam.engine.sources.video import Timed, VideoFile, check_readable
from mimicam.engine.types import Frame, Image

_PICTURE_FPS = 30.0
_SLIP_NS = 500_000_000
"""Nanoseconds. A source that is later than this (slow, or the machine slept) restarts its
schedule."""


def is_picture(path: Path) -> bool:
    """Whether the suffix is that of a still picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


class PacedSource:
    """Delivers timed pictures at their times; ``captured_ns`` is the moment a picture was due."""

    def __init__(
        self,
        frames: Iterator[Timed],
        *,
        name: str,
        fps: float,
        clock: Clock,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.fps = fps
        self.status = ""
        self.slips = 0
        """Number of times the schedule restarted because the source could not keep up."""
        self._frames = frames
        self._clock = clock
        self._on_close = on_close
        self._seq = count()
        self._start_ns: int | None = None

    def read(self, stop: threading.Event) -> Frame | None:
        timed = None if stop.is_set() else next(self._frames, None)
        if timed is None:
            return None
        due_ns = self._due_ns(timed.time_s)
        if self._clock.wait_until(due_ns, stop):
            return None
        return Frame(image=timed.image, seq=next(self._seq), captured_ns=due_ns)

    def close(self) -> None:
        self._on_close()

    def _due_ns(self, time_s: float) -> int:
        now_ns, offset_ns = self._clock.now_ns(), round(time_s * 1e9)
        if self._start_ns is None:
            self._start_ns = now_ns - offset_ns
        elif now_ns - (self._start_ns + offset_ns) > _SLIP_NS:
            self._start_ns = now_ns - offset_ns
            self.slips += 1
        return self._start_ns + offset_ns


def play(
    path: Path,
    *,
    clock: Clock,
    read_picture: Callable[[Path], Image],
    fps: float | None = None,
    loop: bool = False,
) -> PacedSource:
    """Open a file as a source.

    Args:
        path: video or picture. A picture is repeated until the session stops.
        clock: paces the frames.
        read_picture: decodes a still picture.
        fps: overrides the rate of the file.
        loop: start a video again at its end.

    Raises:
        EngineError: the file cannot be played.
    """
    if is_picture(path):
        check_readable(path)
        image, rate = read_picture(path), fps or _PICTURE_FPS
        stills = (Timed(image=image, time_s=index / rate) for index in count())
        return PacedSource(stills, name=_name(path, image), fps=rate, clock=clock)
    player = _Player(path, loop=loop, fps=fps)
    return PacedSource(iter(player), name=player.name, fps=player.fps, clock=clock, on_close=player.close)


class _Player:
    """The pictures of a video, once or for ever, one decoded ahead so that a broken file fails at
    once."""

    def __init__(self, path: Path, *, loop: bool, fps: float | None) -> None:
        self._path = path
        self._loop = loop
        self._closed = False
        self._video = VideoFile(path)
        self.fps = fps or self._video.fps
        self._speed = self.fps / self._video.fps
        self._round = iter(self._video)
        # Decoded now, so that a broken file fails when it is opened, not in the session.
        self._first = next(self._round)
        self.name = _name(path, self._first.image)

    def __iter__(self) -> Iterator[Timed]:
        start_s = last_s = 0.0
        yield self._first
        while True:
            for timed in self._round:
                last_s = start_s + timed.time_s / self._speed
                yield Timed(image=timed.image, time_s=last_s)
            self._video.close()
            if self._closed:
                return
            if not self._loop:
                if self._video.fault:
                    raise EngineError(self._video.fault)
                return
            # The next round begins one frame after the last picture, so that times keep increasing.
            start_s = last_s + 1.0 / self.fps
            self._video = VideoFile(self._path)
            self._round = iter(self._video)

    def close(self) -> None:
        # Only a mark: the decoder may be at work in another thread, and is freed with this object.
        self._closed = True


def _name(path: Path, image: Image) -> str:
    height, width = image.shape[:2]
    return f"{path.name} {width}x{height}"
