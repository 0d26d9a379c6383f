"""Calls of programs: aiortc on both sides, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription

from mimicam.benchmarks.bad_network import BadNetwork, LinkConditions
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.types import Mode
from mimicam.engine.web import timecode
from tests.web.browser import TintPool
from tests.web.clients import Driver, watcher_offer
from tests.web.conftest import Hidden, Live, Run, studio_running, with_limits

CLEAR = LinkConditions(loss=0.0, delay_ms=0.0, jitter_ms=0.0)
PLAIN = {"mirror": False, "badge": "off"}


async def _watch(live: Live, view: str) -> tuple[RTCPeerConnection, str]:
    pc = await watcher_offer()
    headers = {"Content-Type": "application/sdp"}
    async with live.http.post(
        f"{live.url}/whep?view={view}", data=pc.localDescription.sdp, headers=headers
    ) as response:
        assert response.status == 201, await response.text()
        await pc.setRemoteDescription(RTCSessionDescription(sdp=await response.text(), type="answer"))
        return pc, response.headers["Location"]


def test_the_result_carries_the_numbers_painted_into_the_camera(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            assert await driver.call(settings=PLAIN) == 200
            numbers = [timecode.read(await driver.frame()) for _ in range(10)]
            assert None not in numbers
            assert numbers == sorted(numbers), "results must not go back in time"
            assert driver.camera.sent - numbers[-1] < 10, "a queue has grown"
            await driver.hang_up()

    run(work())


def test_a_preset_of_the_page_reaches_the_call_s_mixer(run: Run, drawn_portraits: Path) -> None:
    mixers: list[PresetMixer] = []

    class Smiling(TintPool):
        def open(self, *wanted: Any) -> Any:
            path = super().open(*wanted)
            path.use_presets = mixers.append
            return path

    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Smiling()) as live:

            async def post(path: str) -> tuple[int, Any]:
                async with live.http.post(f"{live.url}/presets/{path}") as response:
                    return response.status, await response.json()

            assert (await post("smile"))[0] == 409, "no call runs"
            async with live.http.get(f"{live.url}/presets") as response:
                listed = (await response.json())["presets"]
            assert listed == [{"name": "smile", "key": "j"}, {"name": "wink", "key": "w"}]
            driver = Driver(live.http, live.url)
            assert await driver.call(settings=PLAIN) == 200
            await driver.frame()
            driver.send(type="preset", name="smile", amount=0.5)
            driver.send(type="preset", name="frown")
            refused = await driver.message("error")
            assert "choose one of smile" in refused["message"]
            assert list(mixers[0]._asked) == [("smile", 0.5)]
            assert await post("smile?amount=0.25") == (200, {"calls": 1})
            assert await post("wink") == (200, {"calls": 1})
            assert list(mixers[0]._asked)[1:] == [("smile", 0.25), ("wink", None)]
            for wrong, status in (("frown", 404), ("smile?amount=9", 400), ("smile?amount=nan", 400)):
                assert (await post(wrong))[0] == status
            await driver.hang_up()

    run(work())


def test_frame_age_recovers_after_a_bad_network(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        with BadNetwork(conditions=CLEAR) as network:
            async with studio_running(drawn_portraits) as live:
                driver = Driver(live.http, live.url, network)
                assert await driver.call(settings={**PLAIN, "height": 256}) == 200
                await driver.frame()
                network.conditions = LinkConditions(loss=0.05, delay_ms=200.0, jitter_ms=200.0)
                for _ in range(60):
                    await driver.frame()
                assert network.lost > 10

                def lag(image: np.ndarray) -> int:
                    return driver.camera.sent - (timecode.read(image) or 0)

                await driver.frame_where(lambda image: lag(image) < 90)
                network.conditions = CLEAR
                await driver.frame_where(lambda image: lag(image) < 10)
                await driver.hang_up()

    run(work())


def test_the_size_of_the_result_follows_the_settings(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call(settings={"height": 360, "framing": "square"})
            assert (await driver.frame()).shape == (360, 360, 3)
            await driver.message("settings")
            driver.send(type="set", settings={"framing": "tall", "height": 256})
            await driver.frame_where(lambda image: image.shape == (342, 256, 3))
            await driver.hang_up()

    run(work())


def test_settings_are_confirmed_and_bad_ones_are_explained(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            first = await driver.message("settings")
            assert first["settings"]["mode"] == "both"
            driver.send(type="set", settings={"mode": "exp", "expression_gain": 1.5})
            changed = await driver.message("settings")
            assert (changed["settings"]["mode"], changed["settings"]["expression_gain"]) == ("exp", 1.5)
            for bad, word in (
                ({"mode": "sideways"}, "both, exp, pose"), ({"expression_gain": 3}, "0..2"),
                ({"mirror": 1}, "boolean"), ({"portrait": "nobody"}, "not there"), ({"path": "/etc"}, "path"),
            ):  # fmt: skip
                driver.send(type="set", settings=bad)
                assert word in (await driver.message("error"))["message"]
            driver.channel.send("{" * 5000)
            assert "4096" in (await driver.message("error"))["message"]
            await driver.hang_up()

    run(work())


def test_the_badge_is_on_by_default_and_moves(run: Run, drawn_portraits: Path) -> None:
    def dark(image: np.ndarray, rows: slice, columns: slice) -> bool:
        return float(np.median(image[rows, columns])) < 100

    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call(settings={"mirror": False})
            corner = (slice(-30, -16), slice(-60, -16))
            image = await driver.frame()
            assert dark(image, *corner)
            assert not dark(image, corner[0], slice(16, 60))
            await driver.message("settings")
            driver.send(type="set", settings={"badge": "bottom-left"})
            await driver.frame_where(lambda i: dark(i, corner[0], slice(16, 60)) and not dark(i, *corner))
            driver.send(type="set", settings={"badge": "off"})
            await driver.frame_where(lambda i: not dark(i, corner[0], slice(16, 60)))
            await driver.hang_up()

    run(work())


def test_the_background_changes_during_a_call(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=TintPool()) as live:
            async with live.http.get(f"{live.url}/portraits") as response:
                blue = next(p for p in (await response.json())["portraits"] if p["title"] == "Blue one")
            driver = Driver(live.http, live.url)
            await driver.call(settings={**PLAIN, "portrait": blue["id"]})
            await driver.frame_where(lambda image: image[-20, -20, 2] > 100 > image[-20, -20, 1] + 60)
            await driver.message("settings")
            driver.send(type="set", settings={"background": "green"})  # the pool shows the picture's corner
            await driver.frame_where(lambda image: image[-20, -20, 1] > image[-20, -20, 2] + 60)
            driver.send(type="set", settings={"background": "kept"})
            await driver.frame_where(lambda image: image[-20, -20, 2] > image[-20, -20, 1] + 60)
            await driver.hang_up()

    run(work())


def test_viewers_see_results_but_not_those_of_the_null_model(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Hidden()) as live:
            driver = Driver(live.http, live.url)
            await driver.call(settings=PLAIN)
            pc, location = await _watch(live, driver.answer["view"])
            track = pc.getTransceivers()[0].receiver.track
            assert timecode.read((await track.recv()).to_ndarray(format="rgb24")) is not None
            async with live.http.delete(f"{live.url}{location}") as response:
                assert response.status == 200
            assert live.studio.viewers == 0
            await pc.close()
            await driver.hang_up()
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            async with live.http.post(
                f"{live.url}/whep?view={driver.answer['view']}", data="v=0"
            ) as response:
                assert response.status == 403
            await driver.hang_up()

    run(work())


def test_viewers_stay_when_the_driver_reconnects(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Hidden(), options=with_limits(calls=1)) as live:
            first = Driver(live.http, live.url)
            await first.call(settings=PLAIN)
            pc, _ = await _watch(live, first.answer["view"])
            track = pc.getTransceivers()[0].receiver.track
            await track.recv()
            second = Driver(live.http, live.url)
            assert await second.call(own=first.answer["own"], settings={**PLAIN, "framing": "square"}) == 200
            assert second.answer["view"] == first.answer["view"]
            assert (await first.message("bye"))["reason"] == "taken"
            while (await track.recv()).width != 480:
                pass
            assert len(live.studio.calls) == 1
            for peer in (pc, first.pc, second.pc):
                await peer.close()

    run(work())


def test_a_call_beyond_the_limit_is_refused_with_a_reason(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(calls=1)) as live:
            first, second = Driver(live.http, live.url), Driver(live.http, live.url)
            assert await first.call() == 200
            assert await second.call() == 503
            assert second.answer["error"] == "full"
            assert "the only place is taken" in second.answer["message"]
            await first.hang_up()
            await second.hang_up()

    run(work())


def test_a_call_and_its_threads_end_when_the_driver_leaves(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.frame()
            call = live.studio.calls[0]
            await driver.hang_up()
            await asyncio.get_running_loop().run_in_executor(None, call.worker.join, 10.0)
            assert call.worker.join(0.0)
            assert live.studio.calls == []

    run(work())


def test_stopping_notifies_the_driver_and_refuses_new_calls(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.message("settings")
            live.studio.draining = True
            async with live.http.get(f"{live.url}/healthz") as response:
                assert (response.status, await response.json()) == (503, {"status": "draining"})
            late = Driver(live.http, live.url)
            assert await late.call() == 503
            live.server.ask_to_stop()
            assert (await driver.message("bye"))["reason"] == "drain"
            await late.hang_up()
            await driver.hang_up()

    run(work())


def test_a_whip_call_is_seen_by_whep_with_the_token_alone(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=Hidden()) as live:
            pusher = Driver(live.http, live.url).pc
            await pusher.setLocalDescription(await pusher.createOffer())
            headers = {"Content-Type": "application/sdp"}
            url = f"{live.url}/whip?mode=exp&badge=off&expression_gain=1.5&mirror=false&height=480"
            async with live.http.post(f"{live.url}/whip?mirror=no", data="v=0", headers=headers) as response:
                assert (response.status, (await response.json())["message"]) == (
                    400,
                    "mirror must be of type boolean",
                )
            async with live.http.post(url, data=pusher.localDescription.sdp, headers=headers) as response:
                assert response.status == 201
                location = response.headers["Location"]
                answer = RTCSessionDescription(sdp=await response.text(), type="answer")
            assert "a=recvonly" in answer.sdp
            edit = live.studio.calls[0].settings.edit
            assert (edit.mode, edit.expression_gain, edit.mirror) == (Mode.EXP, 1.5, False)
            await pusher.setRemoteDescription(answer)
            pc = await watcher_offer()
            async with live.http.post(
                f"{live.url}/whep", data=pc.localDescription.sdp, headers=headers
            ) as response:
                assert response.status == 201
                await pc.setRemoteDescription(RTCSessionDescription(sdp=await response.text(), type="answer"))
            track = pc.getTransceivers()[0].receiver.track
            assert (await track.recv()).width == 640
            async with live.http.delete(f"{live.url}{location}") as response:
                assert response.status == 200
            async with live.http.delete(f"{live.url}{location}") as response:
                assert response.status == 404
            for peer in (pusher, pc):
                await peer.close()

    run(work())
