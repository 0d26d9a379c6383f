"""Run an iterator on a thread of its own, one item ahead of its consumer."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot
from mimicam.engine.concurrency.threads import Worker

T = TypeVar("T")
_END_LIMIT_S = 10.0


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield the same items in the same order, each computed while the one before is in use.

    No item is lost. An error of ``items`` is raised where the item would have come. Close the
    iterator when leaving it early: the thread ends after the item in work.
    """
    slot: LatestSlot[T] = LatestSlot(Drops(), "ahead")

    def work() -> None:
        try:
            for item in items:
                slot.put(item)
                slot.wait_until_taken()
        except Closed:
            return

    worker = Worker("ahead", work, on_end=slot.close)
    worker.start()
    try:
        while (item := slot.take()) is not None:
            yield item
    except Closed:
        worker.join(_END_LIMIT_S)
        worker.raise_error()
    finally:
        slot.close()
        worker.join(_END_LIMIT_S)
