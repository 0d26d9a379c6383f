"""Run a batch's units in processes of this machine."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool

from mimicam.engine.batch.states import FAILED, TRIES, Outcome, Unit
from mimicam.engine.batch.workers import deaths, model_in_worker, open_pool


class ProcessWorkers:
    """Fills a pool of processes, and replaces it when one of them dies."""

    def __init__(self, open_pool: Callable[[], Executor], *, count: int, stop: Callable[[], None]) -> None:
        """Prepare workers.

        Args:
            open_pool: makes a pool of ``count`` workers; again, when one of them died.
            count: units at a time.
            stop: makes workers give up, when the batch is interrupted.
        """
        self._open_pool, self._count, self.stop = open_pool, count, stop
        self._running: dict[Future[float], Unit] = {}
        self._pool = open_pool()

    def model(self) -> str:
        """See `Workers.model`.

        Raises:
            EngineError: it does not load.
        """
        return self._pool.submit(model_in_worker).result()

    def run(self, waiting: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """See `Workers.run`."""
        while waiting or self._running:
            # The pool never holds more than it runs: what waits here can still be dropped when its
            # job fails, and costs no try when a worker dies.
            while len(self._running) < self._count and (unit := self._next(waiting)) is not None:
                self._running[self._pool.submit(unit.work, *unit.arguments)] = unit
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED) if self._running else ((), ())
            # A death breaks all futures of the pool, and none tells which unit it was: each counts
            # a try.
            if any(isinstance(each.exception(), BrokenProcessPool) for each in finished):
                yield from self._replace_pool(waiting)
                continue
            for future in finished:
                yield self._running.pop(future), future.result

    def close(self) -> None:
        """End the processes, after what they are at."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _next(self, waiting: deque[Unit]) -> Unit | None:
        """Return a unit that waits. Of two that follow the same video, one waits for the other."""
        running = [(unit.work, unit.arguments) for unit in self._running.values()]
        for unit in [*waiting]:
            if unit.state.state == FAILED:
                waiting.remove(unit)
            elif (unit.work, unit.arguments) not in running:
                waiting.remove(unit)
                return unit
        return None

    def _replace_pool(self, waiting: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Go on with new workers: one of them died, and took what the others did with it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        lost, self._running = list(self._running.values()), {}
        self._pool = self._open_pool()
        for unit in lost:
            unit.tries += 1
        # In front, in their order, so that jobs that were begun end first and free their space.
        waiting.extendleft(unit for unit in reversed(lost) if unit.tries < TRIES)
        yield from ((unit, _give_up) for unit in lost if unit.tries >= TRIES)


def process_workers(model: str, backend: str, count: int) -> ProcessWorkers:
    """Start ``count`` processes of this machine; ``model`` and ``backend`` as in `load_model`."""
    # Of the pool's own start method: a semaphore cannot be handed to processes of another one.
    stop = multiprocessing.get_context("spawn").Event()
    return ProcessWorkers(lambda: open_pool(model, backend, count, stop), count=count, stop=stop.set)


def _give_up() -> float:
    raise deaths(TRIES)
