"""An iterator on a thread of its own."""

import signal
import threading
from collections.abc import Iterator

import pytest

from mimicam.engine.concurrency.prefetch import prefetch


def test_every_item_comes_in_order() -> None:
    assert list(prefetch(range(500))) == list(range(500))


def test_nothing_comes_of_nothing() -> None:
    assert list(prefetch(())) == []


def test_prefetch_is_exactly_one_item_ahead() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for index, event in enumerate(made):
            event.set()
            yield index

    ahead = prefetch(items())
    assert next(ahead) == 0
    assert made[1].wait(10), "the second was not begun"
    assert not made[3].is_set(), "two ahead"
    assert list(ahead) == [1, 2, 3]


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("torn")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="torn"):
        next(ahead)


def test_closing_early_ends_the_thread() -> None:
    before = threading.active_count()
    ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            ended.set()

    source = items()
    ahead = prefetch(source)
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before, "the thread still runs"
    source.close()
    assert ended.is_set()


def test_ctrl_c_comes_where_the_next_item_would_have_come() -> None:
    before = signal.getsignal(signal.SIGINT)
    ahead = prefetch(range(1000))
    assert next(ahead) == 0
    signal.raise_signal(signal.SIGINT)  # within the code that uses the item: nothing is raised here
    with pytest.raises(KeyboardInterrupt):
        next(ahead)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_is_not_lost_by_a_consumer_that_leaves_early() -> None:
    ahead = prefetch(range(1000))
    assert next(ahead) == 0
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ahead.close()


def test_ctrl_c_ends_the_wait_for_an_item_that_does_not_come() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        signal.raise_signal(signal.SIGINT)
        release.wait(10)

    ahead = prefetch(items())
    assert next(ahead) == 1
    threading.Timer(0.5, release.set).start()  # the thread is waited for
    with pytest.raises(KeyboardInterrupt):
        next(ahead)


def test_one_ctrl_c_ends_prefetching_within_prefetching() -> None:
    outer, inner = prefetch(range(1000)), prefetch(range(1000))
    assert (next(outer), next(inner)) == (0, 0)
    signal.raise_signal(signal.SIGINT)
    for each in (inner, outer):
        with pytest.raises(KeyboardInterrupt):
            next(each)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
