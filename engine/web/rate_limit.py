"""Limits how often something may happen per key, such as an address."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable


class RateLimit:
    """A token bucket per key. Full buckets are dropped, so that memory stays bounded."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._size, self._per_s, self._now = float(per_minute), per_minute / 60.0, now
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def wait_s(self, key: Hashable) -> float:
        """Seconds until ``key`` may act, 0 for now. The bucket stays as it is."""
        return max(0.0, (1.0 - self._level(key)) / self._per_s)

    def take(self, key: Hashable) -> float:
        """Take one token. Returns 0 if there was one, else the seconds to wait."""
        wait_s = self.wait_s(key)
        if not wait_s:
            # Addresses are cheap (IPv6), so full buckets are dropped before memory grows.
            if len(self._buckets) > 4096:
                self._forget()
            self._buckets[key] = (self._level(key) - 1.0, self._now())
        return wait_s

    def _level(self, key: Hashable) -> float:
        level, since = self._buckets.get(key, (self._size, 0.0))
        return min(self._size, level + (self._now() - since) * self._per_s)

    def _forget(self) -> None:
        self._buckets = {k: v for k, v in self._buckets.items() if self._level(k) < self._size}
