"""Sinks receive results: virtual camera, window, file, nothing."""

from __future__ import annotations

from typing import Protocol

from mimicam.engine.types import Frame

STOP_LIMIT_S = 1.0
"""Seconds for a sink that shows frames: what it still holds is old."""
DISK_LIMIT_S = 60.0
"""Seconds for a sink that keeps frames: a slow disk must not lose a recording."""


class Sink(Protocol):
    """Shows or keeps frames. ``open``, ``write``, ``poll`` and ``close`` share one thread of its
    own."""

    name: str
    """For people, and for the reason under which its drops are counted."""
    stop_limit_s: float
    """How long it may take at the end, for what it was given and for ``close``; usually
    `STOP_LIMIT_S`."""
    main_thread: bool
    """Must run on the process's main thread, as windows must on macOS. At most one such sink a
    session."""

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Get ready for frames of ``size`` (width, height) at about ``fps``.

        Raises:
            EngineError: it cannot be used; with the remedy.
        """
        ...

    def write(self, frame: Frame) -> None:
        """Show or keep one frame. Its picture has the size given to ``open``.

        Raises:
            EngineError: the sink broke for good.
        """
        ...

    def poll(self) -> None:
        """Do periodic work. Called every few hundredths of a second, with or without frames."""
        ...

    def close(self) -> None:
        """Finish. Called once, also after ``open`` or ``write`` failed."""
        ...
