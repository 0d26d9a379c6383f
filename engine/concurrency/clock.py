"""Monotonic time, as the engine reads it and waits for it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """The source of time for pacing and measuring. One clock per session."""

    def now_ns(self) -> int:
        """Read monotonic time, the unit of ``Frame.captured_ns``."""
        ...

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """Return at ``due_ns``, or at once when ``stop`` is set. True: stopped."""
        ...


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        # A past time still reports a stop, so that a late loop ends as well.
        left_ns = due_ns - time.monotonic_ns()
        if left_ns <= 0:
            return stop.is_set()
        return stop.wait(left_ns / 1e9)
