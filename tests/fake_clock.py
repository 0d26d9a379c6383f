"""A clock that tests turn by hand."""

from __future__ import annotations

import threading


class FakeClock:
    """Time that jumps to whatever is waited for; ``advance`` adds to it."""

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
