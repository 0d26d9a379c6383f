"""Run a batch: follow the videos, write the segments, join them; each step in any free worker."""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mimicam.engine.batch.jobs import Row
from mimicam.engine.batch.join import join_segments
from mimicam.engine.batch.states import DONE, FAILED, RUNNING, JobState, Outcome, Unit, Workers
from mimicam.engine.batch.units import Segment, content_hash, job_key, plan_segments, read_people
from mimicam.engine.batch.workers import follow_in_worker, write_in_worker
from mimicam.engine.editing.video import edited_from
from mimicam.engine.errors import EngineError
from mimicam.engine.files import PART_SUFFIX, write_atomically
from mimicam.engine.sources.file import is_picture


class Batch:
    """Runs jobs in workers, and writes the results file after each change."""

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        folder: Path,
        results: Path,
        workers: Workers,
        segment_s: float,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Prepare a batch.

        Args:
            rows: jobs, and rows that are none.
            folder: keeps tracks and segments until their jobs are done.
            results: JSON file to write.
            workers: run the units; closed at the end.
            segment_s: length of a segment.
            tell: receives a line for each job that ends.
        """
        self._folder, self._results, self._segment_s = folder, results, segment_s
        self._workers, self._tell = workers, tell
        self.states = [JobState(row=row) for row in rows]
        self._waiting: deque[Unit] = deque()
        self._model = ""

    def run(self) -> bool:
        """Run all jobs; return whether all are done.

        Raises:
            EngineError: the model does not load, or the results file cannot be written.
        """
        known = _read_results(self._results)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._model = self._workers.model()
            for state in self.states:
                self._guard(state, partial(self._begin, state, known))
            for unit, outcome in self._workers.run(self._waiting):
                self._guard(unit.state, partial(self._finish, unit, outcome))
        except BaseException:
            # Ctrl-C ends here too: workers ignore it, and `close` would wait for them.
            self._workers.stop()
            raise
        finally:
            self._workers.close()
            for part in self._folder.glob(f".*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)  # a worker that was killed left it
            self._save()
        return all(state.state == DONE for state in self.states)

    def _begin(self, state: JobState, known: Mapping[str, Mapping[str, Any]]) -> None:
        if state.row.job is None:
            raise EngineError(state.row.error)
        job = state.row.job
        state.key = job_key(job, self._model)
        before = known.get(str(job.out), {})
        # The key alone is not enough: somebody may have removed the result since.
        if before.get("key") == state.key and job.out.is_file():
            state.state, state.before = DONE, before
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
        # A driver that trims ends the pictures: the source's sound must not go on without them.
        trims = job.driver_length.value == "trim" and job.driver is not None
        end_s = _end_s(state.segments[-1]) if trims else float("inf")
        # Marks name the weights alone; the backend stands behind the space (`model_in_worker`).
        model = self._model.partition(" ")[0]
        figures = join_segments(
            state.segments,
            job.out,
            end_s=end_s,
            provenance=edited_from(job.source, [job.driver], model=model, hash_of=content_hash),
            tell=lambda line: self._tell(f"{note}{line}"),
        )
        state.frames = sum(each.frames for each in figures)
        state.changed = sum(each.changed for each in figures)
        state.without_face = sum(each.without_face for each in figures)
        for each in figures:
            state.covered.update(each.covered)
            state.driver_covered.update(each.driver_covered)
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
        self._waiting += [Unit(state=state, work=each, arguments=a, after=after) for each, a in work]

    def _finish(self, unit: Unit, outcome: Outcome) -> None:
        unit.state.seconds += outcome()
        unit.state.left -= 1
        if unit.state.left == 0 and unit.state.state != FAILED:
            unit.after(unit.state)

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


def _end_s(last: Segment) -> float:
    figures = last.figures
    assert figures is not None and figures.frames > 0, "joined segments are finished"  # noqa: PT018
    times_s = read_people(last.job.source, last.folder)[0].times_s
    return float(times_s[last.last]) if last.last < len(times_s) else float("inf")


def _read_results(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the entry of each result that an earlier run finished, by the result's path."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["out"]: row for row in rows if row["state"] == DONE}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
