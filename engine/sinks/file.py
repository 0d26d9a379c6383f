"""Record the session's result to a video file."""

from __future__ import annotations

from pathlib import Path

from mimicam.engine.sinks import DISK_LIMIT_S
from mimicam.engine.sinks.video_writer import SYNTHETIC, OpenFile, VideoWriter, container_format, open_plain
from mimicam.engine.types import Frame


class FileSink:
    """Writes each frame with its capture time. Where one was dropped, the frame before stays
    longer."""

    def __init__(self, path: Path, *, open_file: OpenFile = open_plain) -> None:
        """Raises EngineError when the name has no suffix of a video."""
        container_format(path)
        self.name = f"file:{path}"
        self.main_thread, self.stop_limit_s = False, DISK_LIMIT_S
        self._path = path
        self._open_file = open_file
        self._writer: VideoWriter | None = None
        self._first_ns: int | None = None

    def open(self, size: tuple[int, int], fps: float) -> None:
        self._writer = VideoWriter(self._path, size=size, fps=fps, tags=SYNTHETIC, open_file=self._open_file)

    def write(self, frame: Frame) -> None:
        assert self._writer is not None, "write before open"
        if self._first_ns is None:
            self._first_ns = frame.captured_ns
        self._writer.write(frame.image, (frame.captured_ns - self._first_ns) / 1e9)

    def poll(self) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        """Complete the file; without a single frame there is none."""
        if self._writer is None:
            return
        if self._first_ns is None:
            self._writer.abort()
        else:
            self._writer.finish()
