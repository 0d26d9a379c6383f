"""A progress bar over the steps of long work."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mimicam.engine.concurrency.interrupts import interrupts_noted
from mimicam.engine.concurrency.steps import Progress, Steps

R = TypeVar("R")
_WRITING = ("render", "edit")


class FrameProgress:
    """Shows a bar for each step: finished frames, speed and the time left. It shows nothing before
    the first frame, so nothing for a picture."""

    def __init__(self, *, backend: str = "", errors: bool = False) -> None:
        """Draw on standard output; with ``errors`` on standard error, and leave no bar behind.

        ``backend``: shown beside the steps that write frames.
        """
        self._backend = backend
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f}/s"),
            TimeRemainingColumn(),
            console=Console(stderr=errors),
            transient=errors,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> FrameProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.stop()

    def tell(self, line: str) -> None:
        """Print a line above the bar, as it is: names may hold brackets."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def follow(self, steps: Steps[R]) -> R:
        """Do the work, show how far it is, and return its result."""
        # The bar takes locks, within which Ctrl-C must not be raised.
        with interrupts_noted(), steps:
            for progress in steps:
                self._show(progress)
            for task in self._bar.tasks:
                self._bar.update(task.id, total=task.completed)  # files state wrong numbers of frames
            return steps.result()

    def _show(self, progress: Progress) -> None:
        if progress.step not in self._tasks:
            name = f"{progress.step} {self._backend if progress.step in _WRITING else ''}".rstrip()
            self._tasks[progress.step] = self._bar.add_task(name, total=progress.total, rate=0.0)
        rate = progress.done / progress.seconds if progress.seconds else 0.0
        self._bar.update(self._tasks[progress.step], completed=progress.done, rate=rate)
