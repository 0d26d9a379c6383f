"""The hand-over between threads."""

import threading

import pytest

from mimicam.engine.concurrency.mailbox import Closed, Drops, LatestSlot


def test_the_newest_item_wins_and_the_others_are_counted() -> None:
    drops = Drops()
    slot: LatestSlot[int] = LatestSlot(drops, "busy")
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0) == 3
    assert drops.by_reason() == {"busy": 2}


def test_take_on_an_empty_slot_gives_none_when_the_time_is_over() -> None:
    assert LatestSlot[int](Drops(), "busy").take(0) is None


def test_a_closed_slot_still_gives_its_last_item_then_says_closed() -> None:
    slot: LatestSlot[int] = LatestSlot(Drops(), "busy")
    slot.put(7)
    slot.close()
    assert slot.take(0) == 7
    with pytest.raises(Closed):
        slot.take(0)


def test_put_on_a_closed_slot_is_a_counted_drop() -> None:
    drops = Drops()
    slot: LatestSlot[int] = LatestSlot(drops, "busy")
    slot.close()
    slot.put(1)
    assert drops.total() == 1


def test_close_wakes_a_taker_that_waits() -> None:
    slot: LatestSlot[int] = LatestSlot(Drops(), "busy")
    ended = threading.Event()

    def taker() -> None:
        with pytest.raises(Closed):
            slot.take()
        ended.set()

    thread = threading.Thread(target=taker, daemon=True)
    thread.start()
    slot.close()
    assert ended.wait(10), "the taker slept through close()"


def test_who_waits_for_room_goes_on_when_the_item_was_taken() -> None:
    slot: LatestSlot[int] = LatestSlot(Drops(), "busy")
    slot.wait_until_taken()  # empty: at once
    slot.put(1)
    room = threading.Event()

    def putter() -> None:
        slot.wait_until_taken()
        room.set()

    thread = threading.Thread(target=putter, daemon=True)
    thread.start()
    assert not room.is_set()
    assert slot.take(0) == 1
    assert room.wait(10), "nobody said that there is room"


def test_who_waits_for_room_hears_that_nobody_takes_any_more() -> None:
    slot: LatestSlot[int] = LatestSlot(Drops(), "busy")
    slot.put(1)
    slot.close()
    with pytest.raises(Closed):
        slot.wait_until_taken()


def test_every_item_put_is_either_taken_or_counted() -> None:
    drops = Drops()
    slot: LatestSlot[int] = LatestSlot(drops, "busy")
    taken: list[int] = []

    def taker() -> None:
        while True:
            try:
                item = slot.take()
            except Closed:
                return
            assert item is not None
            taken.append(item)

    thread = threading.Thread(target=taker, daemon=True)
    thread.start()
    for item in range(2000):
        slot.put(item)
    slot.close()
    thread.join(10)
    assert len(taken) + drops.total() == 2000
    assert taken == sorted(taken), "items overtook each other"
    assert taken[-1] == 1999, "the newest item was lost"
