"""The portraits of a session: one is ready at the start, the others are enrolled when somebody wants them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from mimicam.engine.concurrency.mailbox import Drops, LatestSlot
from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import Portrait

Load = Callable[[], Portrait]
"""Read and enrol one portrait. Slow; raises `EngineError`."""
Show = Callable[[Portrait], None]
"""Receives a portrait, on the asking thread or on the gallery's own."""


class Gallery:
    """Numbered portraits. Those that are not enrolled yet are enrolled on a thread of the gallery's own.

    Enrolling costs 0.1 s of a core (EPYC, 2026-11): sixteen before the first frame would be seconds.
    """

    def __init__(
        self,
        ready: Sequence[Portrait],
        later: Sequence[Load] = (),
        *,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Number the portraits from 0, enrolled ones first.

        Args:
            ready: enrolled already; at least one.
            later: enrol the others, with a model that nobody else uses.
            on_error: told why a portrait cannot be shown; the one in use stays.
        """
        self._ready = dict(enumerate(ready))
        self._later = dict(enumerate(later, len(ready)))
        self._on_error = on_error
        self._wanted = 0
        self._lock = threading.Lock()
        self._asked: LatestSlot[tuple[int, Show]] = LatestSlot(Drops(), "another was wanted")
        # Daemon: a portrait that is being enrolled must not keep a session from ending.
        self._thread = threading.Thread(target=self._enroll, name="gallery", daemon=True)

    def __len__(self) -> int:
        return len(self._ready.keys() | self._later.keys())

    @property
    def first(self) -> Portrait:
        """The portrait to begin with."""
        return self._ready[0]

    def show(self, number: int, show: Show) -> None:
        """Hand a portrait over: at once, or as soon as it is enrolled, unless another is wanted by then.

        Args:
            number: 0 up to the length.
            show: receives it.
        """
        with self._lock:
            self._wanted = number
            if number in self._ready:
                show(self._ready[number])
                return
            if self._thread.ident is None:
                self._thread.start()
        self._asked.put((number, show))

    def _enroll(self) -> None:
        """The thread's life: it ends with the process."""
        while (asked := self._asked.take()) is not None:
            try:
                self._enroll_one(*asked)
            except EngineError as error:
                self._on_error(str(error))

    def _enroll_one(self, number: int, show: Show) -> None:
        portrait = self._ready[number] if number in self._ready else self._later[number]()
        with self._lock:
            self._ready[number] = portrait
            if self._wanted == number:
                show(portrait)
