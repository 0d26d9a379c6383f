"""Run a batch's units with Ray Data, which starts workers that die again and repeats what they were at.

Units and their outcomes pass through Ray, some hundred bytes each. Videos, tracks and segments lie in
folders that all machines share.
"""

from __future__ import annotations

import hashlib
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mimicam.engine.backends.registry import BACKENDS
from mimicam.engine.batch.ray_cluster import RayCluster
from mimicam.engine.batch.states import FAILED, TRIES, Outcome, Unit
from mimicam.engine.batch.workers import begin, deaths, model_in_worker
from mimicam.engine.errors import EngineError
from mimicam.engine.files import PART_SUFFIX


class RayWorkers:
    """Runs all units that wait as one data set, then those that came meanwhile."""

    def __init__(
        self,
        address: str,
        *,
        model: str,
        backend: str,
        count: int | None,
        cores: int,
        folder: Path,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Connect to Ray.

        Args:
            address: see `RayCluster`.
            model: name or path, as in `load_model`; the same on all machines.
            backend: name of the backend. One that needs a GPU takes one for each worker.
            count: units at a time. None: one for each core or GPU.
            cores: those of this machine, for a cluster that starts here.
            folder: keeps the marks of units that are being tried; all machines see it.
            tell: receives one line.

        Raises:
            EngineError: see `RayCluster`; or it has fewer cores or GPUs than workers were asked for.
        """
        needs_gpu = any(each.name == backend and each.needs_gpu for each in BACKENDS)
        self._cluster = RayCluster(address, cores=count or cores)
        self._worker, self._folder = (model, backend, str(folder)), folder
        self._needs = {"num_gpus": 1} if needs_gpu else {"num_cpus": 1}
        room, what = self._cluster.count("GPU" if needs_gpu else "CPU"), "GPU" if needs_gpu else "core"
        self._count = count or room
        if self._count > room or room == 0:
            self.close()
            raise EngineError(f"Ray at {address} has {room} {what}s: ask for at most as many --workers")
        tell(f"Ray at {address}: {self._count} workers, each with one {what}")

    def model(self) -> str:
        """See `Workers.model`.

        Raises:
            EngineError: it does not load.
        """
        ((_, outcome),) = self._calls([pickle.dumps((model_in_worker, ()))])
        return str(outcome())

    def run(self, waiting: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """See `Workers.run`.

        Raises:
            EngineError: Ray itself fails.
        """
        while waiting:
            # Jobs of one source share the unit that follows it: run twice, it would cost twice.
            alike: dict[tuple[object, ...], list[Unit]] = {}
            for unit in filter(_is_wanted, waiting):
                alike.setdefault((unit.work, unit.arguments), []).append(unit)
            waiting.clear()
            calls = {pickle.dumps(call): units for call, units in alike.items()}
            for call, outcome in self._calls([*calls]):
                share = partial(_share, outcome, len(calls[call]))
                yield from ((unit, share) for unit in calls[call] if _is_wanted(unit))

    def stop(self) -> None:
        """See `Workers.stop`: Ray ends the workers."""
        self.close()

    def close(self) -> None:
        """Leave the cluster, which ends the workers there."""
        self._cluster.close()

    def _calls(self, calls: Sequence[bytes]) -> Iterator[tuple[bytes, Callable[[], Any]]]:
        """Run pickled calls; yield each with its outcome as it ends."""
        if not calls:
            return
        for call in calls:
            _mark(self._folder, call).unlink(missing_ok=True)  # an interrupted run may have left it
        data = self._cluster.ray.data
        rows = [{"number": number, "call": call} for number, call in enumerate(calls)]
        size = min(self._count, len(calls))
        # One block a unit, since Ray repeats whole blocks when a worker dies.
        done = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            RayWorker,
            fn_constructor_args=self._worker,
            batch_size=1,
            compute=data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            **self._needs,
        )
        try:
            for row in done.iter_batches(batch_size=1, prefetch_batches=0):
                yield calls[int(row["number"][0])], pickle.loads(row["outcome"][0])
        except self._cluster.ray.exceptions.RayError as error:
            # Ray's text is a page of stack frames of the actor; its last line names the cause.
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = lines[-1] if lines else type(error).__name__
            raise EngineError(
                f"Ray gave up ({reason:.200}): check that all machines have this version of mimicam"
            ) from error


class RayWorker:
    """An actor: it loads the model once, then runs one unit after another."""

    def __init__(self, model: str, backend: str, folder: str) -> None:
        """See `begin`; ``folder`` keeps the marks of units that are being tried."""
        begin(model, backend)
        self._folder = Path(folder)

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """Run the unit of one row. Its errors are part of the outcome, since they cost one job only."""
        call = bytes(rows["call"][0])
        return {"number": [int(rows["number"][0])], "outcome": [pickle.dumps(self._try(call))]}

    def _try(self, call: bytes) -> _Value | _Failure:
        mark = _mark(self._folder, call)
        with mark.open("ab") as file:
            file.write(b".")
            tries = file.tell()
        try:
            # Ray repeats a unit for ever; the mark outlives a worker that is killed, and counts.
            if tries > TRIES:
                raise deaths(TRIES)
            work, arguments = pickle.loads(call)
            return _Value(value=work(*arguments))
        except Exception as error:  # the top of a worker; the batch tells its kinds apart
            return _Failure(error=_portable(error), trace=traceback.format_exc())
        finally:
            mark.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    value: Any

    def __call__(self) -> Any:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    error: Exception
    trace: str

    def __call__(self) -> Any:
        raise self.error from _RemoteError(f"\n{self.trace}")


class _RemoteError(Exception):
    """Shows the lines at which a worker failed, as the cause of its error."""


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its text if it cannot travel."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a library's own error does when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")


def _mark(folder: Path, call: bytes) -> Path:
    """Return the file that has a byte for each try of a unit that did not end."""
    return folder / f".{hashlib.sha256(call).hexdigest()[:32]}.tries{PART_SUFFIX}"


def _is_wanted(unit: Unit) -> bool:
    return unit.state.state != FAILED


def _share(outcome: Callable[[], float], count: int) -> float:
    return outcome() / count
