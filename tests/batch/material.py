"""Jobs, and a pool that runs their units in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from mimicam.engine.batch.jobs import Row, read_jobs

FRAMES, FPS = 13, 5


class Inline(Executor):
    """Runs each call at once, or fails as a test decides."""

    def __init__(self, fail: Callable[[str], BaseException | None] = lambda _: None) -> None:
        self.fail, self.calls = fail, list[str]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append(fn.__name__)
        error = self.fail(fn.__name__)
        if isinstance(error, KeyboardInterrupt):
            raise error
        if error is not None:
            future.set_exception(error)
            return future
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as raised:
            future.set_exception(raised)
        return future


def rows(folder: Path, clip: Path, *names: str) -> list[Row]:
    given = [{"source": str(clip), "out": f"{name}.mp4", "preset": "smile=1"} for name in names]
    (folder / "jobs.json").write_text(json.dumps(given))
    return read_jobs(folder / "jobs.json")


def results(folder: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return read
