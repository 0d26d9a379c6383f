"""Ends of calls: races, vanished peers, internal errors, and a server that stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimicam.engine.types import Image
from mimicam.engine.web.call import Call
from mimicam.engine.web.call_worker import CallState, CallWorker
from mimicam.engine.web.pipeline_pool import EchoPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.protocol import Settings
from tests.web.clients import Driver, watcher_offer
from tests.web.conftest import OPTIONS, Hidden, Run, studio_running, with_limits


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def test_concurrent_offers_with_one_key_leave_one_call(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            first = Driver(live.http, live.url)
            assert await first.call() == 200
            own, threads = first.answer["own"], _drawing_threads()
            again = [Driver(live.http, live.url) for _ in range(3)]
            statuses = await asyncio.gather(*(driver.call(own=own) for driver in again))
            assert set(statuses) <= {200, 409}
            assert 200 in statuses
            for driver, status in zip(again, statuses, strict=True):
                if status == 409:
                    assert driver.answer["error"] == "taken"
            assert len(live.studio.calls) == 1
            await asyncio.get_running_loop().run_in_executor(None, _wait_for_threads, threads)
            for driver in (first, *again):
                await driver.hang_up()

    run(work())


def _drawing_threads() -> int:
    return sum(thread.name == "drawing" for thread in threading.enumerate())


def _wait_for_threads(most: int) -> None:
    """Wait until at most this many calls draw. The test's own time limit applies."""
    for thread in threading.enumerate():
        if thread.name == "drawing" and _drawing_threads() > most:
            thread.join(5.0)
    assert _drawing_threads() <= most


def _kill(driver: Driver) -> None:
    """Silence a peer's sockets, as if its process had been killed."""
    for transceiver in driver.pc.getTransceivers():
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            protocol.transport.sendto = lambda *_: None


def test_a_vanished_driver_frees_its_place(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        options = with_limits(calls=1, viewers=1, silent_s=1.0)
        async with studio_running(drawn_portraits, pool=Hidden(), options=options) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.frame()
            await driver.message("stats")
            _kill(driver)
            await _until(lambda: live.studio.ended["silent"] == 1)
            assert live.studio.calls == []
            second = Driver(live.http, live.url)
            assert await second.call() == 200, "its place is free"
            await second.hang_up()
            await driver.hang_up()

    run(work())


def test_a_driver_without_a_face_stays_connected(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(silent_s=6.0)) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.frame()
            driver.pc.getSenders()[0].replaceTrack(None)  # no more pictures; its reports go on
            for _ in range(18):  # nine seconds
                await driver.message("stats")
            assert len(live.studio.calls) == 1
            await driver.hang_up()

    run(work())


class _Breaks(EchoPool):
    """Fails when a background is replaced, as an example of an internal error."""

    def find_face(self, picture: Image) -> None:  # noqa: ARG002 - the pool's contract
        raise RuntimeError("a mistake")


def test_an_error_while_handling_a_message_ends_the_call(
    run: Run, drawn_portraits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=_Breaks()) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.message("settings")
            driver.send(type="set", settings={"background": "plain"})
            assert "an error in the server" in (await driver.message("error"))["message"]
            assert (await driver.message("bye"))["reason"] == "failed"
            await _until(lambda: live.studio.calls == [])
            await driver.hang_up()

    with caplog.at_level(logging.ERROR, "mimicam.engine.web"):
        run(work())
    assert "event=call_broken error=RuntimeError" in caplog.text


def test_a_stopping_server_is_draining_and_not_full(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Hidden()) as live:
            live.studio.draining = True
            late = Driver(live.http, live.url)
            assert await late.call() == 503
            assert late.answer["error"] == "draining"
            pc = await watcher_offer()
            url = f"{live.url}/whep?view={live.studio.publish_to(live.studio.new_identity())[1]}"
            headers = {"Content-Type": "application/sdp"}
            async with live.http.post(url, data=pc.localDescription.sdp, headers=headers) as response:
                assert (response.status, (await response.json())["error"]) == (503, "draining")
            await pc.close()
            await late.hang_up()

    run(work())


def test_a_call_answered_after_the_stop_is_closed(
    run: Run, drawn_portraits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Call.answer

    async def work() -> None:
        async with studio_running(drawn_portraits) as live:

            async def late(call: Call, sdp: str) -> str:
                text = await answer(call, sdp)
                live.studio.draining = True
                return text

            monkeypatch.setattr(Call, "answer", late)
            driver = Driver(live.http, live.url)
            assert await driver.call() == 503
            assert driver.answer["error"] == "draining"
            assert live.studio.calls == []
            await driver.hang_up()

    run(work())


def test_a_second_stop_ends_the_draining(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=replace(OPTIONS, drain_s=3600.0)) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.frame()
            live.server.ask_to_stop()
            assert (await driver.message("bye"))["reason"] == "drain"
            assert len(live.studio.calls) == 1, "the call may go on for a while"
            live.server.ask_to_stop()
            await _until(lambda: live.studio.calls == [])
            await driver.hang_up()

    run(work())


@pytest.mark.parametrize("what", ["portrait", "thumbnail"])
def test_an_upload_removed_during_enrolment_leaves_no_memory(drawn_portraits: Path, what: str) -> None:
    class Removing(EchoPool):
        now = False

        def enroll(self, picture: Image, name: str) -> Any:
            if self.now:
                library.remove(entry.id)
            return super().enroll(picture, name)

        def find_face(self, picture: Image) -> None:  # noqa: ARG002 - the pool's contract
            if self.now and what == "thumbnail":
                library.remove(entry.id)

    pool = Removing()
    library = PortraitLibrary(pool, folder=drawn_portraits)
    entry = library.add(np.full((64, 64, 3), 90, np.uint8), "Me")
    pool.now = True
    if what == "portrait":
        library.portrait(entry.id, "plain")
    else:
        library.thumbnail(entry.id)
    assert library.entry(entry.id) is None
    assert not any(key[0] == entry.id for key in library._portraits)
    assert entry.id not in library._thumbs


def test_only_recently_used_portraits_stay_enrolled(
    drawn_portraits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimicam.engine.web.portrait_library._MAX_ENROLLED", 3)
    enrolled: list[str] = []

    class Counting(EchoPool):
        def enroll(self, picture: Image, name: str) -> Any:
            enrolled.append(name)
            return super().enroll(picture, name)

    library = PortraitLibrary(Counting(), folder=drawn_portraits)
    ids = [entry.id for entry in library.shared()][:2]
    for one in (ids[0], ids[1], ids[0]):
        library.portrait(one)
    library.portrait(ids[1], "plain")
    library.portrait(ids[1], "green")  # now ids[1] before its own background is the oldest of four
    assert len(enrolled) == 4
    library.portrait(ids[0])
    assert len(enrolled) == 4, "it was used after the other"
    library.portrait(ids[1])
    assert len(enrolled) == 5
    assert len(library._portraits) == 3


def _fmtp_without_rtpmap(sdp: str) -> str:
    """aiortc raises 'RuntimeError: coroutine raised StopIteration' here."""
    kept = [line for line in sdp.splitlines() if not line.startswith("a=rtpmap:97 ")]
    return (
        "\r\n".join(line for line in kept if not line.startswith("a=fmtp:97 ")) + "\r\na=fmtp:97 apt=96\r\n"
    )


@pytest.mark.parametrize(
    "mistake", [RuntimeError("x"), OSError(24, "Too many open files"), StopAsyncIteration(), LookupError()]
)
def test_an_offer_that_fails_in_any_way_takes_no_place(
    run: Run, drawn_portraits: Path, mistake: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise mistake

    async def work() -> None:
        async with studio_running(
            drawn_portraits, pool=Hidden(), options=with_limits(calls=1, viewers=1)
        ) as live:
            driver = Driver(live.http, live.url)
            with monkeypatch.context() as patched:
                patched.setattr("mimicam.engine.web.peer.RTCPeerConnection.setRemoteDescription", fail)
                for _ in range(3):
                    assert await Driver(live.http, live.url).call() == 400
            assert not live.studio.calls
            assert await driver.call() == 200
            view = {"Authorization": f"Bearer {driver.answer['view']}", "Content-Type": "application/sdp"}
            viewer = await watcher_offer()
            sdp = viewer.localDescription.sdp
            with monkeypatch.context() as patched:
                patched.setattr("mimicam.engine.web.peer.RTCPeerConnection.setRemoteDescription", fail)
                for _ in range(3):
                    async with live.http.post(f"{live.url}/whep", data=sdp, headers=view) as response:
                        assert response.status == 400
            async with live.http.post(f"{live.url}/whep", data=sdp, headers=view) as response:
                assert response.status == 201
            await viewer.close()
            await driver.hang_up()

    run(work())


def test_an_offer_with_an_fmtp_but_no_rtpmap_takes_no_place(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(calls=1)) as live:
            driver = Driver(live.http, live.url)
            await driver.pc.setLocalDescription(await driver.pc.createOffer())
            odd = _fmtp_without_rtpmap(driver.pc.localDescription.sdp)
            for _ in range(3):
                async with live.http.post(
                    f"{live.url}/offer", json={"sdp": odd, "type": "offer"}
                ) as response:
                    assert response.status == 400
            assert await Driver(live.http, live.url).call() == 200

    run(work())


def test_a_call_that_has_ended_keeps_no_model_in_memory(drawn_portraits: Path) -> None:
    """Runs without the cycle collector, which does not count the 35 MB native memory of a call."""
    opened: list[weakref.ref[FakePath]] = []

    class ConstantPool(EchoPool):
        def open(self, *_: object) -> Any:
            path = FakePath()
            opened.append(weakref.ref(path))
            return path

    pool = ConstantPool()
    library = PortraitLibrary(pool, folder=drawn_portraits, uploads=1)
    kept: list[CallWorker] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            portrait = library.portrait(library.default)
            state = CallState(settings=Settings(portrait=library.default), portrait=portrait)
            worker = CallWorker(pool, state, publish=lambda _: None, on_fail=lambda _: None)
            worker.start()
            worker.close()
            assert worker.join(20.0)
            kept.append(worker)  # as its cycle with thread and call keeps it
        assert len(opened) == 3
        assert [path() for path in opened] == [None] * 3
    finally:
        gc.enable()


class FakePath:
    """Stands for the pipeline that a call holds."""

    status = None

    def set_standby(self, standby: bool) -> None:
        """Do nothing in this test."""

    def use_presets(self, presets: object) -> None:
        """Do nothing in this test."""
