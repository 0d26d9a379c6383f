"""Run an iterator on a thread of its own, one item ahead of its consumer."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from mimicam.engine.concurrency.interrupts import interrupts_noted
from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot
from mimicam.engine.concurrency.threads import Worker

T = TypeVar("T")
_END_LIMIT_S = 10.0
_LOOK_S = 0.1
"""Time between two looks at signals while an item is being made."""


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield the same items in the same order, each computed while the one before is in use.

    No item is lost. An error of ``items`` is raised where the item would have come. Close the
    iterator when leaving it early: the thread ends after the item in work. On the main thread,
    Ctrl-C is raised where the next item would have come, never within the code that uses one.
    """
    slot: LatestSlot[T] = LatestSlot(Drops(), "ahead")

    def work() -> None:
        try:
            for item in items:
                # Waits for room afterwards: nothing is dropped here, unlike on the live path.
                slot.put(item)
                slot.wait_until_taken()
        except Closed:
            return

    worker = Worker("ahead", work, on_end=slot.close)
    with interrupts_noted() as interrupts:
        worker.start()
        try:
            while True:
                item = slot.take(_LOOK_S)
                interrupts.raise_if_asked()
                if item is not None:
                    yield item
        except Closed:
            worker.join(_END_LIMIT_S)
            worker.raise_error()
            interrupts.raise_if_asked()
        except GeneratorExit:
            interrupts.raise_if_asked()
            raise
        finally:
            # The consumer may leave early; the worker then ends at its next item.
            slot.close()
            worker.join(_END_LIMIT_S)
