"""Run a batch: follow the videos, write the segments, join them; each step in any free worker."""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mimicam.engine.batch.jobs import Row
from mimicam.engine.batch.join import join_segments
from mimicam.engine.batch.units import Segment, job_key, plan_segments, read_people
from mimicam.engine.batch.workers import follow_in_worker, model_in_worker, write_in_worker
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.sources.file import is_picture

_TRIES = 3
"""Times that a unit may be running when a worker dies, before its job counts as the reason."""
DONE, FAILED, RUNNING, WAITING = "done", "failed", "running", "waiting"


@dataclass(slots=True, kw_only=True)
class JobState:
    """How far a job is."""

    row: Row
    state: str = WAITING
    error: str = ""
    key: str = ""
    segments: list[Segment] = field(default_factory=list)
    left: int = 0
    """Units of the present step that are not finished."""
    reused: int = 0
    """Segments that an earlier run had finished."""
    frames: int = 0
    changed: int = 0
    without_face: int = 0
    seconds: float = 0.0
    """Time that workers spent on it in this run."""

    def described(self) -> dict[str, Any]:
        """Return the job's entry in the results file."""
        job = self.row.job
        return {
            "job": self.row.number,
            "state": self.state,
            "error": self.error,
            "source": str(self.row.given.get("source", "") if job is None else job.source),
            "out": str(self.row.given.get("out", "") if job is None else job.out),
            "key": self.key,
            "frames": self.frames,
            "changed": self.changed,
            "without_face": self.without_face,
            "segments": len(self.segments),
            "segments_reused": self.reused,
            "seconds": round(self.seconds, 1),
        }


@dataclass(slots=True, kw_only=True, eq=False)
class _Unit:
    """One call in a worker."""

    state: JobState
    work: Callable[..., float]
    arguments: tuple[Any, ...]
    after: Callable[[JobState], None]
    """Called when the job's last unit of this step is finished."""
    tries: int = 0


class Batch:
    """Runs jobs in worker processes, and writes the results file after each change."""

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        folder: Path,
        results: Path,
        workers: int,
        segment_s: float,
        open_pool: Callable[[], Executor],
        stop: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Prepare a batch.

        Args:
            rows: jobs, and rows that are none.
            folder: keeps tracks and segments until their jobs are done.
            results: JSON file to write.
            workers: units at a time.
            segment_s: length of a segment.
            open_pool: makes a pool of that many workers; again, when one of them died.
            stop: makes workers give up, when the batch is interrupted.
            tell: receives a line for each job that ends.
        """
        self._folder, self._results, self._segment_s = folder, results, segment_s
        self._workers, self._open_pool, self._stop, self._tell = workers, open_pool, stop, tell
        self.states = [JobState(row=row) for row in rows]
        self._waiting: deque[_Unit] = deque()
        self._running: dict[Future[float], _Unit] = {}
        self._model = ""

    def run(self) -> bool:
        """Run all jobs; return whether all are done.

        Raises:
            EngineError: the model does not load, or the results file cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        known = _read_results(self._results)
        self._pool = self._open_pool()
        try:
            self._model = self._pool.submit(model_in_worker).result()
            for state in self.states:
                self._guard(state, partial(self._begin, state, known))
            while self._waiting or self._running:
                self._turn()
        except BaseException:
            self._stop()
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._save()
        return all(state.state == DONE for state in self.states)

    def _begin(self, state: JobState, known: dict[str, str]) -> None:
        if state.row.job is None:
            raise EngineError(state.row.error)
        job = state.row.job
        state.key = job_key(job, self._model)
        if known.get(str(job.out)) == state.key and job.out.is_file():
            state.state = DONE
            self._tell(f"job {state.row.number}: {job.out} was done before")
            return
        state.state = RUNNING
        videos = [
            job.source,
            *([job.driver] if job.driver is not None and not is_picture(job.driver) else []),
        ]
        self._add(state, [(follow_in_worker, (video, self._folder)) for video in videos], self._cut)

    def _cut(self, state: JobState) -> None:
        assert state.row.job is not None, "only jobs are followed"
        state.segments = plan_segments(state.row.job, state.key, self._folder, seconds=self._segment_s)
        left = [segment for segment in state.segments if segment.figures is None]
        state.reused = len(state.segments) - len(left)
        if left:
            self._add(state, [(write_in_worker, (segment,)) for segment in left], self._join)
        else:
            self._join(state)

    def _join(self, state: JobState) -> None:
        job = state.row.job
        assert job is not None and state.segments, "only jobs are cut, and into at least one segment"  # noqa: PT018
        note = f"job {state.row.number}: "
        trims = job.driver_length.value == "trim" and job.driver is not None
        end_s = _end_s(state.segments[-1]) if trims else float("inf")
        figures = join_segments(
            state.segments, job.out, end_s=end_s, tell=lambda line: self._tell(f"{note}{line}")
        )
        state.frames = sum(each.frames for each in figures)
        state.changed = sum(each.changed for each in figures)
        state.without_face = sum(each.without_face for each in figures)
        state.state = DONE
        self._save()  # before the segments go: a crash in between only leaves them behind
        for segment in state.segments:
            segment.path.unlink(missing_ok=True)
            segment.path.with_suffix(".json").unlink(missing_ok=True)
        self._tell(f"{note}wrote {job.out}")

    def _add(
        self,
        state: JobState,
        work: Sequence[tuple[Callable[..., float], tuple[Any, ...]]],
        after: Callable[[JobState], None],
    ) -> None:
        state.left = len(work)
        self._waiting += [_Unit(state=state, work=each, arguments=a, after=after) for each, a in work]

    def _turn(self) -> None:
        """Fill the workers, and take what the next of them has finished."""
        while len(self._running) < self._workers and (unit := self._next()) is not None:
            self._running[self._pool.submit(unit.work, *unit.arguments)] = unit
        if not self._running:
            return
        finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
        if any(isinstance(each.exception(), BrokenProcessPool) for each in finished):
            self._replace_pool()
            return
        for future in finished:
            unit = self._running.pop(future)
            self._guard(unit.state, partial(self._finish, unit, future))

    def _next(self) -> _Unit | None:
        """Return a unit that waits. Of two that follow the same video, one waits for the other."""
        running = [(unit.work, unit.arguments) for unit in self._running.values()]
        for unit in [*self._waiting]:
            if unit.state.state == FAILED:
                self._waiting.remove(unit)
            elif (unit.work, unit.arguments) not in running:
                self._waiting.remove(unit)
                return unit
        return None

    def _finish(self, unit: _Unit, future: Future[float]) -> None:
        unit.state.seconds += future.result()
        unit.state.left -= 1
        if unit.state.left == 0 and unit.state.state != FAILED:
            unit.after(unit.state)

    def _replace_pool(self) -> None:
        """Go on with new workers: one of them died, and took what the others did with it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        lost, self._running = list(self._running.values()), {}
        for unit in lost:
            unit.tries += 1
            if unit.tries >= _TRIES:
                self._guard(unit.state, partial(_give_up, unit))
        self._waiting.extendleft(unit for unit in reversed(lost) if unit.tries < _TRIES)
        self._pool = self._open_pool()

    def _guard(self, state: JobState, work: Callable[[], None]) -> None:
        """Let an error cost its own job."""
        try:
            work()
        except EngineError as error:
            self._fail(state, str(error))
        except OSError as error:
            self._fail(state, f"{error.strerror or error}: check space and permissions")
        except Exception as error:  # the top of a unit: a fault of ours must not cost the other jobs
            lines = "".join(traceback.format_exception(error))
            self._fail(state, f"a fault of mimicam ({type(error).__name__}: {error}): please report it")
            self._tell(lines)
        self._save()

    def _fail(self, state: JobState, reason: str) -> None:
        state.state, state.error = FAILED, reason
        self._tell(f"job {state.row.number} failed: {reason}")

    def _save(self) -> None:
        text = json.dumps([state.described() for state in self.states], indent=2)
        with write_atomically(self._results) as part:
            part.write_text(text + "\n", encoding="utf-8")


def _give_up(unit: _Unit) -> None:
    raise EngineError(f"workers died {unit.tries} times while they were at it: try it with --workers 1")


def _end_s(last: Segment) -> float:
    figures = last.figures
    assert figures is not None and figures.frames > 0, "joined segments are finished"  # noqa: PT018
    times_s = read_people(last.job.source, last.folder)[0].times_s
    return float(times_s[last.last]) if last.last < len(times_s) else float("inf")


def _read_results(path: Path) -> dict[str, str]:
    """Return the key of each result that an earlier run finished, by the result's path."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["out"]: row["key"] for row in rows if row["state"] == DONE}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
