"""Hand items from one thread to another. The newest item wins, and what is lost is counted with its
reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Drops:
    """Counts dropped frames by reason. Thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, reason: str) -> None:
        """Count one more frame, lost for ``reason``."""
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + 1

    def clear(self) -> None:
        """Start again from zero, as after a warm-up."""
        with self._lock:
            self._counts.clear()

    def total(self) -> int:
        """Number of frames dropped, for any reason."""
        with self._lock:
            return sum(self._counts.values())

    def by_reason(self) -> dict[str, int]:
        """A copy: reason to number of frames, reasons in alphabetical order."""
        with self._lock:
            return dict(sorted(self._counts.items()))


class Closed(Exception):  # noqa: N818 - a state of the slot, not a fault
    """The slot is closed and empty: nothing will come any more."""


class LatestSlot(Generic[T]):
    """A slot for one item. ``put`` never blocks: an item that was not taken is replaced and
    counted."""

    def __init__(self, drops: Drops, reason: str, *, on_put: Callable[[], None] | None = None) -> None:
        """Make an empty slot.

        Args:
            drops: where replaced items are counted.
            reason: under which name.
            on_put: called after each ``put``, without the lock; wakes a consumer that polls.
        """
        self._drops = drops
        self._reason = reason
        self._on_put = on_put
        self._item: T | None = None
        self._closed = False
        self._change = threading.Condition()

    def put(self, item: T) -> None:
        """Put the newest item. On a closed slot it is dropped and counted."""
        with self._change:
            lost = self._closed or self._item is not None
            if not self._closed:
                self._item = item
                self._change.notify_all()
        # Outside the lock: neither counting nor the callback may delay the consumer.
        if lost:
            self._drops.count(self._reason)
        if self._on_put is not None:
            self._on_put()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Take the newest item; None when none came in time.

        Raises:
            Closed: the slot is closed and its last item was taken.
        """
        with self._change:
            self._change.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            # Taken even when closed: the last frame of a file must not be lost.
            item, self._item = self._item, None
            if item is None and self._closed:
                raise Closed
            self._change.notify_all()  # a producer may wait for room
            return item

    def wait_until_taken(self) -> None:
        """Wait for room. For a producer that would rather make the next item late than in vain.

        Raises:
            Closed: the slot was closed.
        """
        with self._change:
            # A condition, since the item may be replaced between the wake-up and this thread's
            # turn.
            self._change.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                raise Closed

    def close(self) -> None:
        """Accept no more items. One that waits can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()
