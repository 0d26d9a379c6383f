"""Where results go: virtual camera, window, file, nothing."""

from __future__ import annotations

from typing import Protocol

from engine.types import Frame


class Sink(Protocol):
    """Shows or keeps frames. ``open``, ``write``, ``poll`` and ``close`` share one thread of its own."""

    name: str
    """For people, and for the reason under which its drops are counted."""
    main_thread: bool
    """Must run on the process's main thread, as windows must on macOS. At most one such sink a session."""

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Get ready for frames of ``size`` (width, height) at about ``fps``.

        Raises:
            EngineError: it cannot be used; with the remedy.
        """
        ...

    def write(self, frame: Frame) -> None:
        """Show or keep one frame; its picture has the size that ``open`` was told.

        Raises:
            EngineError: the sink broke for good.
        """
        ...

    def poll(self) -> None:
        """Called every few hundredths of a second, frames or not."""
        ...

    def close(self) -> None:
        """Finish. Called once, also after ``open`` or ``write`` failed."""
        ...
