"""An iterator on a thread of its own."""

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
