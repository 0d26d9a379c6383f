"""Threads whose failure ends the session and is raised again where the session runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Worker:
    """Runs ``target`` on a daemon thread, keeps its exception, and calls ``on_end``.

    Daemon, because a driver that never returns must not keep the process alive.
    """

    def __init__(self, name: str, target: Callable[[], None], *, on_end: Callable[[], None]) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._target = target
        self._on_end = on_end
        # A daemon: a sink that hangs in a driver must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as error:  # the thread's top: the session re-raises it
            self.error = error
        finally:
            self._on_end()

    @property
    def started(self) -> bool:
        """Whether ``start`` was called."""
        return self._thread.ident is not None

    def join(self, timeout_s: float) -> bool:
        """Wait for the end. False: it still runs after ``timeout_s``."""
        if self.started:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def raise_error(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self.error is not None:
            raise self.error


def start_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Make a pool whose threads all run.

    By itself, a pool starts another thread whenever none is idle. The number of threads of a server
    would then grow for hours.

    Args:
        threads: their number.
        name: prefix of their names.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    # Nobody passes the barrier before every thread has come, so that none is idle.
    all_run = threading.Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(all_run.wait)
    all_run.wait()
    return pool
