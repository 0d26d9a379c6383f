"""Takes frames and does nothing with them: for measuring."""

from __future__ import annotations

from mimicam.engine.sinks import STOP_LIMIT_S
from mimicam.engine.types import Frame


class NullSink:
    """Accepts everything at once."""

    def __init__(self) -> None:
        self.name = "null"
        self.main_thread, self.stop_limit_s = False, STOP_LIMIT_S

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Do nothing: there is no device."""

    def write(self, frame: Frame) -> None:
        """Drop the frame at once."""

    def poll(self) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        """Do nothing: there is no file."""
