"""``mimicam batch``: edit many videos in several processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mimicam.engine.backends.registry import BackendName


@dataclass(frozen=True, kw_only=True)
class RunBatch:
    """Edit many videos; run it again after an interruption, and it goes on."""

    jobs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="JOBS")]
    """CSV with a header, or JSON: source, out, and options of edit such as driver or preset."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes. By default one per core."""
    segment: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 60.0
    """Length of the pieces that workers write. The same jobs with another length start anew."""
    results: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file with each job's result. By default JOBS.results.json."""
    backend: BackendName = "auto"
    """Backend that runs the model; auto chooses by what the machine has."""
    model: str = "compact"
    """compact, or the path of a bundle of it."""

    def run(self) -> int:
        """Run all jobs; return 0 if all are done, 1 if some failed, 130 after Ctrl-C.

        Raises:
            EngineError: the file of jobs cannot be used, or the model does not load.
        """
        import multiprocessing

        from mimicam.engine.batch.jobs import read_jobs
        from mimicam.engine.batch.runner import FAILED, Batch
        from mimicam.engine.batch.workers import open_pool
        from mimicam.engine.concurrency.cores import usable_cores
        from mimicam.engine.errors import EngineError
        from mimicam.engine.files import refuse_to_overwrite_inputs

        workers = self.workers or usable_cores()
        if workers < 1 or not 1.0 <= self.segment <= 3600.0:
            raise EngineError("--workers must be at least 1, and --segment 1 to 3600 seconds")
        rows = read_jobs(self.jobs)
        results = self.results or self.jobs.with_suffix(".results.json")
        jobs = [row.job for row in rows if row.job is not None]
        read = [self.jobs, *(path for job in jobs for path in job.inputs)]
        refuse_to_overwrite_inputs([results, *(job.out for job in jobs)], read)
        stop = multiprocessing.get_context("spawn").Event()
        batch = Batch(
            rows,
            folder=self.jobs.resolve().with_suffix(".segments"),
            results=results,
            workers=workers,
            segment_s=self.segment,
            open_pool=lambda: open_pool(self.model, self.backend, workers, stop),
            stop=stop.set,
        )
        try:
            batch.run()
        except KeyboardInterrupt:
            print(f"interrupted: run 'mimicam batch {self.jobs}' again to go on")
            return 130
        failed = sum(state.state == FAILED for state in batch.states)
        print(f"{len(rows) - failed} of {len(rows)} jobs are done; see {results}")
        return 1 if failed else 0
