"""Sources of frames: camera, file, pattern."""

from __future__ import annotations

import threading
from typing import Protocol

from mimicam.engine.types import Frame


class Source(Protocol):
    """Gives frames, one by one, to one thread. Opened by its constructor, which raises
    EngineError."""

    name: str
    """For people: what it is and how large its pictures are."""
    fps: float
    """Frames a second it means to give."""

    @property
    def status(self) -> str:
        """Empty while frames come; otherwise what is wrong, in a few words."""
        ...

    def read(self, stop: threading.Event) -> Frame | None:
        """Wait for the next frame. None: the source has ended, or ``stop`` was set.

        Raises:
            EngineError: the source broke for good.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file. Called once, from any thread."""
        ...
