"""A progress bar over the frames of a driver."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import VideoFile


class FrameProgress:
    """Shows the number of finished frames of a video, the speed and the time left; shows nothing
    for a picture."""

    def __init__(self, label: str, driving: Path) -> None:
        """Show ``label`` before the bar; the number of frames is read from ``driving``."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} frames/s"),
            TimeRemainingColumn(),
            disable=is_picture(driving),
        )
        self._label, self._frames = label, _frame_count(driving)
        self._tasks: dict[str, TaskID] = {}

    def tell(self, line: str) -> None:
        """Print a line above the bar, as it is: names may hold brackets."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> FrameProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, done: int) -> None:
        """Set the number of finished frames."""
        self.advance_step(self._label, done)

    def advance_step(self, step: str, done: int) -> None:
        """Set the number of frames that a step finished; each step has a bar of its own."""
        task = self._task(step)
        self._bar.update(task, completed=done, rate=self._bar.tasks[task].speed or 0.0)

    def finish(self, frames: int) -> None:
        """Set the number of frames that the video turned out to have."""
        for task in self._tasks.values():
            self._bar.update(task, total=frames)

    def _task(self, step: str) -> TaskID:
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(step, total=self._frames, rate=0.0)
        return self._tasks[step]


def _frame_count(driving: Path) -> int | None:
    if is_picture(driving):
        return 1
    video = VideoFile(driving)
    try:
        return video.frame_count
    finally:
        video.close()
