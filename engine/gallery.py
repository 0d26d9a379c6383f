"""Portraits of a session: one is ready at the start, the others are enrolled on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from mimicam.engine.concurrency.mailbox import Drops, LatestSlot
from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import Portrait

Load = Callable[[], Portrait]
"""Reads and enrolls one portrait. Slow; raises `EngineError`."""
Show = Callable[[Portrait], None]
"""Receives a portrait, on the calling thread or on the gallery's own."""


class Gallery:
    """Holds numbered portraits, and enrolls missing ones on a thread of its own.

    Enrolling costs 0.1 s of a core (EPYC, 2026-11), so sixteen would delay the first frame.
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
            later: enroll the others, with a model that no other thread uses.
            on_error: receives why a portrait cannot be shown; the one in use stays.
        """
        self._ready = dict(enumerate(ready))
        self._later = dict(enumerate(later, len(ready)))
        self._on_error = on_error
        self._requested = 0
        self._lock = threading.Lock()
        self._requests: LatestSlot[tuple[int, Show]] = LatestSlot(Drops(), "another was requested")
        # A daemon, so that enrolling does not delay the end of a session.
        self._thread = threading.Thread(target=self._enroll, name="gallery", daemon=True)

    def __len__(self) -> int:
        return len(self._ready.keys() | self._later.keys())

    @property
    def first(self) -> Portrait:
        """Portrait that a session starts with."""
        return self._ready[0]

    def show(self, number: int, show: Show) -> None:
        """Pass a portrait to ``show``: at once, or when it is enrolled.

        It is not shown if another number was requested meanwhile.

        Args:
            number: 0 up to the length.
            show: receives it.
        """
        with self._lock:
            self._requested = number
            if number in self._ready:
                show(self._ready[number])
                return
            if self._thread.ident is None:
                self._thread.start()
        self._requests.put((number, show))

    def _enroll(self) -> None:
        """Enroll requested portraits until the process ends."""
        while (request := self._requests.take()) is not None:
            try:
                self._enroll_one(*request)
            except EngineError as error:
                self._on_error(str(error))

    def _enroll_one(self, number: int, show: Show) -> None:
        # Loaded outside the lock, so that `show` never waits for it.
        portrait = self._ready[number] if number in self._ready else self._later[number]()
        with self._lock:
            self._ready[number] = portrait
            if self._requested == number:
                show(portrait)
