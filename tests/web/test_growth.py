"""Nothing of an ended call or viewer stays."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimicam.engine.pipeline import LivePath
from mimicam.engine.portrait import Portrait
from mimicam.engine.types import EditSettings, Frame
from mimicam.engine.web.broadcast import Result, ResultTrack
from mimicam.engine.web.pipeline_pool import EchoPath
from tests.web.clients import Driver
from tests.web.conftest import Hidden, Live, Run, studio_running

_CALLS = 3


@dataclass(slots=True)
class _SlowPath(EchoPath):
    """Draws slowly on request: sets ``drawing`` and waits for ``go_on``."""

    slow: threading.Event = field(default_factory=threading.Event)
    drawing: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def draw(self, observation: Frame) -> Frame:
        if self.slow.is_set():
            self.drawing.set()
            self.go_on.wait()
        return EchoPath.draw(self, observation)


class _SlowPool(Hidden):
    """Keeps the path of its newest call."""

    path: _SlowPath

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        self.path = _SlowPath(size, edit, portrait)
        return self.path


def _results() -> int:
    # Not isinstance, which asks each object for its class. Some warn then.
    return sum(type(one) is Result for one in gc.get_objects())


def _threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())


def _files() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


async def _call(live: Live) -> list[weakref.ref[Any]]:
    """Call, hang up, and return what belonged to it."""
    driver = Driver(live.http, live.url)
    assert await driver.call() == 200
    await driver.frame()
    (call,) = live.studio.calls
    track = call.own_view
    assert isinstance(track, ResultTrack)
    parts = call, call.worker, call.worker._path, call.peer, call.peer.pc, track
    found = [weakref.ref(part) for part in (*parts, *call.peer.pc.getSenders(), *call.peer.pc.getReceivers())]
    await driver.hang_up()
    return found


async def _gone(live: Live, parts: list[weakref.ref[Any]]) -> None:
    """Wait until the studio has ended a call and returned its memory."""
    while live.studio.calls or live.studio.tidying or any(part() is not None for part in parts):
        await asyncio.sleep(0.01)


def test_nothing_of_earlier_calls_stays(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Hidden()) as live:
            await _gone(live, await _call(live))  # loads and starts what all calls share
            tasks, threads, files = len(asyncio.all_tasks()), _threads(), _files()
            for _ in range(_CALLS):
                await _gone(live, await _call(live))
            assert (len(asyncio.all_tasks()), _threads(), _files()) == (tasks, threads, files)

    gc.collect()
    gc.disable()  # only the studio itself collects
    try:
        run(work())
    finally:
        gc.enable()


def test_result_that_is_drawn_while_its_call_ends_is_not_kept(run: Run, drawn_portraits: Path) -> None:
    """The broadcast stays for a call that may resume it, and with it 0.44 MB stayed for each call."""

    async def work() -> None:
        pool = _SlowPool()
        async with studio_running(drawn_portraits, pool=pool) as live:
            before = _results()
            for _ in range(_CALLS):
                await _end_while_drawing(live, pool)
            gc.collect()
            assert _results() == before

    run(work())


async def _end_while_drawing(live: Live, pool: _SlowPool) -> None:
    driver = Driver(live.http, live.url)
    assert await driver.call() == 200
    await driver.frame()
    pool.path.slow.set()
    while not pool.path.drawing.is_set():
        await asyncio.sleep(0.01)
    await driver.hang_up()
    while live.studio.calls:
        await asyncio.sleep(0.01)
    pool.path.go_on.set()
    await _gone(live, [])
