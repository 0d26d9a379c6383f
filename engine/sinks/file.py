"""Record the session's result to a video file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mimicam.engine.provenance import ANIMATED, Provenance
from mimicam.engine.sinks import DISK_LIMIT_S
from mimicam.engine.sinks.video_writer import OpenFile, VideoWriter, container_format, open_plain
from mimicam.engine.types import Frame


class FileSink:
    """Writes each frame with its capture time. Where one was dropped, the frame before stays
    longer."""

    def __init__(
        self,
        path: Path,
        *,
        marks: Callable[[], Provenance] = lambda: ANIMATED,
        open_file: OpenFile = open_plain,
    ) -> None:
        """Prepare a file.

        Args:
            path: the video, when it is complete.
            marks: returns the marks of the file; called when the session starts.
            open_file: opens the temporary file; for tests.

        Raises:
            EngineError: the name has no suffix of a video.
        """
        container_format(path)
        self.name = f"file:{path}"
        self.main_thread, self.stop_limit_s = False, DISK_LIMIT_S
        self._path, self._marks = path, marks
        self._open_file = open_file
        self._writer: VideoWriter | None = None
        self._first_ns: int | None = None

    def open(self, size: tuple[int, int], fps: float) -> None:
        self._writer = VideoWriter(
            self._path, size=size, fps=fps, provenance=self._marks(), open_file=self._open_file
        )

    def write(self, frame: Frame) -> None:
        assert self._writer is not None, "write before open"
        if self._first_ns is None:
            # Times in the file count from the first frame, not from the start of the session.
            self._first_ns = frame.captured_ns
        self._writer.write(frame.image, (frame.captured_ns - self._first_ns) / 1e9)

    def poll(self) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        """Complete the file; without a single frame there is none."""
        if self._writer is None:
            return
        if self._first_ns is None:
            # Players report an empty video as damaged.
            self._writer.abort()
        else:
            self._writer.finish()
