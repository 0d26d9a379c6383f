from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from mimicam.engine.concurrency.batching import Batcher, Gather, Superseded, Ticket
from mimicam.engine.concurrency.mailbox import Closed, Drops
from tests.fake_clock import FakeClock

MS = 1_000_000


def doubled(batch: Mapping[int, int]) -> dict[int, int]:
    return {slot: 2 * item for slot, item in batch.items()}


def test_a_batch_is_due_when_the_first_has_waited_long_enough() -> None:
    gather: Gather[str, str] = Gather(most=4, wait_ns=3 * MS)
    assert gather.due_ns is None
    gather.offer(0, Ticket("a"), 10 * MS)
    gather.offer(1, Ticket("b"), 12 * MS)
    assert gather.due_ns == 13 * MS
    assert gather.take(13 * MS - 1) == {}
    assert [ticket.item for ticket in gather.take(13 * MS).values()] == ["a", "b"]
    assert gather.due_ns is None


def test_a_full_batch_waits_no_longer() -> None:
    gather: Gather[str, str] = Gather(most=2, wait_ns=3 * MS)
    for slot in (0, 1):
        gather.offer(slot, Ticket("x"), 10 * MS)
    assert gather.due_ns == 10 * MS
    assert len(gather.take(10 * MS)) == 2


def test_who_does_not_fit_goes_first_in_the_next_batch() -> None:
    gather: Gather[int, int] = Gather(most=2, wait_ns=3 * MS)
    for slot in range(3):
        gather.offer(slot, Ticket(slot), 10 * MS)
    assert list(gather.take(10 * MS)) == [0, 1]
    assert gather.due_ns == 13 * MS, "the wait of the rest counts from the last batch"
    gather.offer(0, Ticket(0), 11 * MS)
    assert list(gather.take(13 * MS)) == [2, 0]


def test_a_newer_frame_replaces_the_sessions_older_one() -> None:
    clock, drops = FakeClock(), Drops()
    batcher = Batcher(doubled, most=2, wait_s=0.003, clock=clock, drops=drops)
    older, newer = batcher.submit(0, 1), batcher.submit(0, 5)
    assert batcher.turn()
    assert newer.result(0) == 10
    with pytest.raises(Superseded):
        older.result(0)
    assert drops.by_reason() == {"superseded": 1}


def test_requests_within_the_deadline_run_as_one_batch() -> None:
    clock, seen = FakeClock(), []

    def work(batch: Mapping[int, int]) -> dict[int, int]:
        seen.append((clock.now_ns(), dict(batch)))
        return doubled(batch)

    batcher = Batcher(work, most=8, wait_s=0.004, clock=clock)
    start = clock.now_ns()
    tickets = [batcher.submit(slot, slot) for slot in range(3)]
    batcher.turn()
    assert seen == [(start + 4 * MS, {0: 0, 1: 1, 2: 2})]
    assert [ticket.result(0) for ticket in tickets] == [0, 2, 4]


def test_a_full_batch_starts_before_its_deadline() -> None:
    clock = NotingClock()
    batcher = Batcher(doubled, most=2, wait_s=60, clock=clock)
    tickets = [batcher.submit(slot, slot) for slot in range(2)]
    batcher.turn()
    assert [ticket.result(0) for ticket in tickets] == [0, 2]
    assert clock.waited == [0], "nothing to wait for"


def test_a_failed_batch_is_heard_of_in_every_session() -> None:
    def work(_batch: Mapping[int, int]) -> dict[int, int]:
        raise RuntimeError("the GPU is gone")

    batcher = Batcher(work, most=2, wait_s=0, clock=FakeClock())
    tickets = [batcher.submit(slot, slot) for slot in range(2)]
    with pytest.raises(RuntimeError):
        batcher.turn()
    for ticket in tickets:
        with pytest.raises(RuntimeError, match="the GPU is gone"):
            ticket.result(0)


def test_closing_tells_those_who_wait_and_ends_the_thread() -> None:
    batcher = Batcher(doubled, most=9, wait_s=0.001)
    ticket = batcher.submit(0, 1)
    batcher.close()
    with pytest.raises(Closed):
        ticket.result(0)
    with pytest.raises(Closed):
        batcher.submit(0, 2)
    assert not batcher.turn()


def test_sessions_on_threads_of_their_own_all_get_their_frames() -> None:
    batcher = Batcher(doubled, most=4, wait_s=0.001)
    runner = threading.Thread(target=batcher.run)
    runner.start()
    results: dict[int, list[int]] = {}

    def session(slot: int) -> None:
        results[slot] = [batcher.submit(slot, 100 * slot + n).result(10) for n in range(20)]

    sessions = [threading.Thread(target=session, args=(slot,)) for slot in range(4)]
    for thread in sessions:
        thread.start()
    for thread in sessions:
        thread.join(30)
    batcher.close()
    runner.join(10)
    assert not runner.is_alive()
    assert results == {slot: [2 * (100 * slot + n) for n in range(20)] for slot in range(4)}


@pytest.mark.parametrize(("most", "wait_ns"), [(0, 1), (1, -1)])
def test_limits_that_make_no_sense_are_refused(most: int, wait_ns: int) -> None:
    with pytest.raises(ValueError, match="most must be"):
        Gather(most=most, wait_ns=wait_ns)


def test_nobody_waits_for_sessions_that_there_are_not() -> None:
    clock = NotingClock()
    batcher = Batcher(doubled, most=8, wait_s=60, clock=clock)
    batcher.expect(1)
    ticket = batcher.submit(3, 4)
    batcher.turn()
    assert ticket.result(0) == 8
    assert clock.waited == [0]


def test_a_session_that_leaves_lets_the_waiting_ones_go() -> None:
    clock = NotingClock()
    batcher = Batcher(doubled, most=8, wait_s=60, clock=clock)
    batcher.expect(2)
    ticket = batcher.submit(0, 1)
    batcher.expect(1)
    batcher.turn()
    assert ticket.result(0) == 2
    assert clock.waited == [0]


def test_after_a_failure_the_next_frame_raises_it() -> None:
    def work(_batch: Mapping[int, int]) -> dict[int, int]:
        raise RuntimeError("the GPU is gone")

    batcher = Batcher(work, most=1, wait_s=0, clock=FakeClock())
    tickets = [batcher.submit(slot, slot) for slot in range(2)]
    with pytest.raises(RuntimeError):
        batcher.turn()
    for ticket in tickets:  # the second was not even in the batch
        with pytest.raises(RuntimeError, match="the GPU is gone"):
            ticket.result(0)
    with pytest.raises(RuntimeError, match="the GPU is gone"):
        batcher.submit(0, 1)


def test_a_result_that_is_missing_fails_all_of_the_batch_alike() -> None:
    batcher: Batcher[int, int] = Batcher(lambda _batch: {0: 1}, most=2, wait_s=0, clock=FakeClock())
    tickets = [batcher.submit(slot, slot) for slot in range(2)]
    with pytest.raises(KeyError):
        batcher.turn()
    for ticket in tickets:
        with pytest.raises(KeyError):
            ticket.result(0)


class NotingClock(FakeClock):
    """Notes how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[int] = []

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        self.waited.append(max(due_ns - self.now_ns(), 0))
        return super().wait_until(due_ns, stop)
