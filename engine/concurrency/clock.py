"""Monotonic time, and a stand-in that tests turn by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What paces and measures. One clock per session."""

    def now_ns(self) -> int:
        """Monotonic time, the unit of ``Frame.captured_ns``."""
        ...

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """Return at ``due_ns``, or at once when ``stop`` is set. True: stopped."""
        ...


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        left_ns = due_ns - time.monotonic_ns()
        if left_ns <= 0:
            return stop.is_set()
        return stop.wait(left_ns / 1e9)


class FakeClock:
    """Time that jumps to whatever is waited for; ``advance`` adds to it. For tests."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._now_ns

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        with self._lock:
            self._now_ns += round(seconds * 1e9)

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        with self._lock:
            self._now_ns = max(self._now_ns, due_ns)
        return stop.is_set()
