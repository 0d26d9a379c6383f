"""Batches of frames from several sessions on one GPU: requests that arrive within a deadline run
together.

A batch of eight costs far less than eight batches of one. A wait of a few milliseconds for the
other seven is not visible. Each session has a slot, and in a slot the newest frame wins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from mimicam.engine.concurrency.clock import Clock, MonotonicClock
from mimicam.engine.concurrency.mailbox import Closed, Drops

In = TypeVar("In")
Out = TypeVar("Out")
_POLL_S = 0.05


class Superseded(Exception):  # noqa: N818 - an answer, not a fault: the session has sent a newer frame
    """This request was not run, since its session sent a newer one."""


class Ticket(Generic[In, Out]):
    """A request and, later, its result."""

    def __init__(self, item: In) -> None:
        self.item = item
        self._done = threading.Event()
        self._result: Out | None = None
        self._error: BaseException | None = None

    def result(self, timeout_s: float | None = None) -> Out:
        """Wait for the batch that this request is part of.

        Raises:
            TimeoutError: it is not done yet.
            Superseded: the session sent a newer request first.
            Closed: the batcher was closed.
            BaseException: what the batch failed with, in every session that was in it.
        """
        if not self._done.wait(timeout_s):
            raise TimeoutError("the batch is not done yet")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def succeed(self, result: Out) -> None:
        """Deliver the result of the batch."""
        self._result = result
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Deliver the error that ends the wait."""
        self._error = error
        self._done.set()


class Gather(Generic[In, Out]):
    """Decides which requests form a batch, and when. No threads, no clock of its own."""

    def __init__(self, *, most: int, wait_ns: int) -> None:
        """``most`` sessions a batch; the first request waits at most ``wait_ns`` for the others.

        Raises:
            ValueError: one of them makes no sense.
        """
        if most < 1 or wait_ns < 0:
            raise ValueError(f"most must be at least 1 and wait_ns not negative, got {most} and {wait_ns}")
        self._most, self._wait_ns = most, wait_ns
        self.expected = most
        """Number of sessions. A batch that holds all of them waits no longer."""
        self._waiting: dict[int, Ticket[In, Out]] = {}
        self._since_ns = 0

    def offer(self, slot: int, ticket: Ticket[In, Out], now_ns: int) -> Ticket[In, Out] | None:
        """Add a request and return the older one of the same session, if it still waits."""
        if not self._waiting:
            self._since_ns = now_ns
        older = self._waiting.get(slot)
        self._waiting[slot] = ticket
        return older

    @property
    def due_ns(self) -> int | None:
        """Time at which the batch starts; None while nothing waits. A full one is due at once."""
        if not self._waiting:
            return None
        return self._since_ns + (0 if self.is_full else self._wait_ns)

    @property
    def is_full(self) -> bool:
        """Whether a longer wait would add no request."""
        return len(self._waiting) >= min(self._most, self.expected)

    def take(self, now_ns: int) -> dict[int, Ticket[In, Out]]:
        """Take the batch, by slot; empty when none is due. Slots beyond ``most`` wait for the next
        one, oldest first."""
        if self.due_ns is None or now_ns < self.due_ns:
            return {}
        # Insertion order is the order of the first request, so no slot starves.
        slots = list(self._waiting)[: self._most]
        self._since_ns = now_ns
        return {slot: self._waiting.pop(slot) for slot in slots}

    def clear(self) -> list[Ticket[In, Out]]:
        """Take out all waiting requests."""
        left = list(self._waiting.values())
        self._waiting.clear()
        return left


class Batcher(Generic[In, Out]):
    """Runs batches on one thread (``turn`` in a loop, or ``run``) for any number of sessions."""

    def __init__(
        self,
        work: Callable[[Mapping[int, In]], Mapping[int, Out]],
        *,
        most: int,
        wait_s: float,
        clock: Clock | None = None,
        drops: Drops | None = None,
    ) -> None:
        """``work`` runs one batch, requests by slot, and gives a result for every slot."""
        self._work, self._clock = work, clock or MonotonicClock()
        self._gather: Gather[In, Out] = Gather(most=most, wait_ns=round(wait_s * 1e9))
        self._drops = drops or Drops()
        # Guards `_gather` and the fields below. Sessions' threads and the batch thread take it.
        self._lock = threading.Lock()
        # `_some`: a request waits. `_go`: the batch may start before its deadline.
        self._some, self._go = threading.Event(), threading.Event()
        self._closed = False
        self._failure: BaseException | None = None

    def expect(self, sessions: int) -> None:
        """Set how many sessions send frames. Once all of them wait, the batch starts."""
        with self._lock:
            self._gather.expected = max(sessions, 1)
            if self._gather.is_full:
                self._go.set()

    def submit(self, slot: int, item: In) -> Ticket[In, Out]:
        """Ask for one frame. Never blocks.

        Raises:
            Closed: the batcher is closed.
            BaseException: the error of an earlier batch, which ended the thread.
        """
        ticket: Ticket[In, Out] = Ticket(item)
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise Closed
            older = self._gather.offer(slot, ticket, self._clock.now_ns())
            self._some.set()
            if self._gather.is_full:
                self._go.set()
        if older is not None:
            self._drops.count("superseded")
            # Outside the lock: the session that waits for it may wake at once and submit again.
            older.fail(Superseded())
        return ticket

    def turn(self) -> bool:
        """Run the next batch once it is due. False: closed, and nothing will come."""
        if not self._some.wait(_POLL_S):
            return not self._closed
        with self._lock:
            due_ns = self._gather.due_ns
        if due_ns is not None:
            # `_go` ends the wait early: the batch is full, or the batcher is closed.
            self._clock.wait_until(due_ns, self._go)
        # Taken only now, under the lock: requests may have arrived, or been replaced, during the
        # wait.
        with self._lock:
            batch = self._gather.take(self._clock.now_ns())
            self._settle()
        if batch:
            self._run_batch(batch)
        return not self._closed

    def run(self) -> None:
        """Run batches until ``close``; for a thread of its own."""
        while self.turn():
            pass

    def close(self) -> None:
        """Stop. Waiting requests end with `Closed`."""
        self._end(Closed())

    def _end(self, why: BaseException) -> None:
        with self._lock:
            self._closed = True
            left = self._gather.clear()
            self._some.set()
            self._go.set()
        for ticket in left:
            ticket.fail(why)

    def _settle(self) -> None:
        """Clear the events that no longer hold after a batch was taken. Call it under the lock."""
        if self._closed:
            return
        if self._gather.due_ns is None:
            self._some.clear()
        if not self._gather.is_full:
            self._go.clear()

    def _run_batch(self, batch: dict[int, Ticket[In, Out]]) -> None:
        try:
            results = self._work({slot: ticket.item for slot, ticket in batch.items()})
            pairs = [(ticket, results[slot]) for slot, ticket in batch.items()]
        except BaseException as error:
            # Each session gets the error, now or with its next frame; the thread ends.
            with self._lock:
                self._failure = error
            for ticket in batch.values():
                ticket.fail(error)
            self._end(error)
            raise
        for ticket, result in pairs:
            ticket.succeed(result)
