"""``mimicam batch``: edit many videos in several processes, on one machine or with Ray on several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mimicam.engine.backends.registry import BackendName

if TYPE_CHECKING:
    from mimicam.engine.batch.states import Workers


@dataclass(frozen=True, kw_only=True)
class RunBatch:
    """Edit many videos; run it again after an interruption, and it goes on."""

    jobs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="JOBS")]
    """CSV with a header, or JSON: source, out, and options of edit such as driver or preset."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes. By default one per core, with --ray one per core or GPU of the cluster."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Work on a Ray cluster: local (started here), auto (runs on this machine) or HOST:PORT. All machines
    must share the folders of the jobs."""
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
        from mimicam.engine.batch.jobs import read_jobs
        from mimicam.engine.batch.runner import Batch
        from mimicam.engine.batch.states import FAILED
        from mimicam.engine.errors import EngineError
        from mimicam.engine.files import refuse_to_overwrite_inputs

        if (self.workers is not None and self.workers < 1) or not 1.0 <= self.segment <= 3600.0:
            raise EngineError("--workers must be at least 1, and --segment 1 to 3600 seconds")
        rows = read_jobs(self.jobs)
        results = self.results or self.jobs.with_suffix(".results.json")
        jobs = [row.job for row in rows if row.job is not None]
        read = [self.jobs, *(path for job in jobs for path in job.inputs)]
        refuse_to_overwrite_inputs([results, *(job.out for job in jobs)], read)
        folder = self.jobs.resolve().with_suffix(".segments")
        batch = Batch(
            rows, folder=folder, results=results, workers=self._workers(folder), segment_s=self.segment
        )
        try:
            batch.run()
        except KeyboardInterrupt:
            print(f"interrupted: run 'mimicam batch {self.jobs}' again to go on")
            return 130
        failed = sum(state.state == FAILED for state in batch.states)
        print(f"{len(rows) - failed} of {len(rows)} jobs are done; see {results}")
        return 1 if failed else 0

    def _workers(self, folder: Path) -> Workers:
        from mimicam.engine.batch.process_pool import process_workers
        from mimicam.engine.batch.ray_workers import RayWorkers
        from mimicam.engine.concurrency.cores import usable_cores

        cores = usable_cores()
        if self.ray is None:
            return process_workers(self.model, self.backend, self.workers or cores)
        return RayWorkers(
            self.ray, model=self.model, backend=self.backend, count=self.workers, cores=cores, folder=folder
        )
