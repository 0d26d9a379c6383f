"""Sources, pipelines and sinks that tests turn by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Frame
from tests.videos import grey

LIMIT_S = 20.0
"""How long a test waits for what must come at once; only a broken session gets there."""


def frame(seq: int, captured_ns: int = 0) -> Frame:
    """A small frame."""
    return Frame(image=grey(seq % 256), seq=seq, captured_ns=captured_ns)


class ScriptedSource:
    """Gives frames from a list, each once ``gate`` lets it; ends with the list."""

    def __init__(self, frames: list[Frame], *, gated: bool = False) -> None:
        self.name, self.fps, self.status = "script", 30.0, ""
        self.gate = threading.Semaphore(0 if gated else len(frames) + 1)
        self.closed = threading.Event()
        self._frames = iter(frames)

    def read(self, stop: threading.Event) -> Frame | None:
        while not self.gate.acquire(timeout=0.01):
            if stop.is_set():
                return None
        return next(self._frames, None)

    def close(self) -> None:
        self.closed.set()


class EndlessSource(ScriptedSource):
    """Waits for ``stop`` after its frames, as a camera would."""

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__(frames)
        self.gate = threading.Semaphore(len(frames))


class HangingSource(ScriptedSource):
    """A driver that never comes back."""

    def __init__(self) -> None:
        super().__init__([])
        self.free = threading.Event()

    def read(self, stop: threading.Event) -> Frame | None:  # noqa: ARG002
        self.free.wait(LIMIT_S)
        return None


class BrokenSource(ScriptedSource):
    """Fails after its frames."""

    def read(self, stop: threading.Event) -> Frame | None:
        found = super().read(stop)
        if found is None:
            raise EngineError("the film tore; glue it")
        return found


class PassThrough:
    """Gives every frame on; ``before`` is called before it is drawn, ``before_look`` before it is looked at."""

    def __init__(
        self,
        before: Callable[[Frame], None] = lambda _: None,
        *,
        before_look: Callable[[Frame], None] = lambda _: None,
    ) -> None:
        self._before, self._before_look = before, before_look

    def observe(self, frame: Frame) -> Frame:
        self._before_look(frame)
        return frame

    def draw(self, seen: Frame) -> Frame:
        self._before(seen)
        return replace(seen)


class ListSink:
    """Keeps what it is given; ``taken`` is released for each."""

    def __init__(self, name: str = "list", *, main_thread: bool = False) -> None:
        self.name, self.main_thread, self.stop_limit_s = name, main_thread, 1.0
        self.seen: list[int] = []
        self.taken = threading.Semaphore(0)
        self.size: tuple[int, int] | None = None
        self.closed = 0
        self.thread: threading.Thread | None = None

    def open(self, size: tuple[int, int], fps: float) -> None:  # noqa: ARG002
        self.size, self.thread = size, threading.current_thread()

    def write(self, frame: Frame) -> None:
        self.seen.append(frame.seq)
        self.taken.release()

    def poll(self) -> None:
        """Nothing."""

    def close(self) -> None:
        self.closed += 1


class StalledSink(ListSink):
    """Hangs in its first write until ``free``."""

    def __init__(self, name: str = "stalled") -> None:
        super().__init__(name)
        self.inside, self.free = threading.Event(), threading.Event()

    def write(self, frame: Frame) -> None:
        self.inside.set()
        self.free.wait(LIMIT_S)
        super().write(frame)


class BrokenSink(ListSink):
    """Fails in ``open`` or in its n-th ``write``, by default with an error that it foresaw."""

    def __init__(
        self,
        *,
        at_open: bool = False,
        at_write: int = 0,
        error: Exception | None = None,
        main_thread: bool = False,
    ) -> None:
        super().__init__("broken", main_thread=main_thread)
        self._at_open, self._at_write, self._error = at_open, at_write, error

    def open(self, size: tuple[int, int], fps: float) -> None:  # noqa: ARG002
        if self._at_open:
            raise self._error or EngineError("no such camera; buy one")

    def write(self, frame: Frame) -> None:
        super().write(frame)
        if len(self.seen) == self._at_write:
            raise self._error or EngineError("the disk is full; free some space")
