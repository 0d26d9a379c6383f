"""Authorisation, and requests that are too many, too large, too slow or damaged."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import zlib
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Mode
from mimicam.engine.web import timecode
from mimicam.engine.web.app import make_app
from mimicam.engine.web.auth import HttpRefusal
from mimicam.engine.web.pipeline_pool import EchoPool
from mimicam.engine.web.protocol import openapi
from mimicam.engine.web.rate_limit import RateLimit
from mimicam.engine.web.request_body import Room
from mimicam.engine.web.view_keys import ViewKeys
from tests.web.clients import Driver
from tests.web.conftest import OPTIONS, TOKEN, Live, Run, studio_running, with_limits


def _png(width: int, height: int) -> bytes:
    """Make a PNG of a few kB that decodes to gigabytes of zeros."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(1_000_000, height * (width * 3 + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def _status(live: Live, method: str, path: str, **options: object) -> tuple[int, dict[str, str]]:
    async with live.http.request(method, f"{live.url}{path}", **options) as response:  # type: ignore[arg-type]
        is_json = response.content_type == "application/json"
        return response.status, (await response.json()) if is_json else {}


def test_without_a_token_only_public_routes_answer(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live, aiohttp.ClientSession() as stranger:
            for method, path in (
                ("GET", "/portraits"), ("POST", "/portraits"), ("POST", "/offer"), ("POST", "/whip"),
                ("POST", "/whep"), ("GET", "/metrics"), ("GET", "/presets"), ("POST", "/presets/smile"),
                ("DELETE", "/whip/x"), ("GET", "/nothing"),
            ):  # fmt: skip
                async with stranger.request(method, f"{live.url}{path}") as response:
                    assert response.status == 401, path
                    assert "Bearer" in response.headers["WWW-Authenticate"]
            async with stranger.get(live.url) as response:
                assert response.status == 401
                assert 'name="token"' in await response.text()
            for path in ("/healthz", "/openapi.json", "/schema.json", "/view", "/static/app.js"):
                async with stranger.get(f"{live.url}{path}") as response:
                    assert response.status == 200, path

    run(work())


def test_the_cookie_changes_things_only_from_our_own_page(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        async with studio_running(drawn_portraits) as live, aiohttp.ClientSession(cookie_jar=jar) as browser:
            async with browser.get(f"{live.url}/?token={TOKEN}") as response:
                assert response.status == 200
                cookie = response.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
            async with browser.get(f"{live.url}/portraits") as response:
                assert response.status == 200
            async with browser.post(f"{live.url}/offer", json={}) as response:
                assert response.status == 401, "a form of another page sends cookies, but no Origin of ours"
            async with browser.post(f"{live.url}/offer", json={}, headers={"Origin": live.url}) as response:
                assert response.status == 400

    run(work())


def test_the_page_has_the_inputs_of_the_servers_model(run: Run, drawn_portraits: Path) -> None:
    class BothAlone(EchoPool):
        modes = (Mode.BOTH,)
        has_blendshapes = False

    async def work() -> None:
        async with studio_running(drawn_portraits, pool=BothAlone()) as live:
            async with live.http.get(live.url) as response:
                page = await response.text()
            assert 'value="both"' in page
            assert not any(part in page for part in ('value="exp"', 'value="pose"', "eyes_gain", "own_face"))

    run(work())


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_other_origins_are_refused_even_with_the_token(run: Run, drawn_portraits: Path, origin: str) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            assert (await _status(live, "GET", "/portraits", headers={"Origin": origin}))[0] == 403

    run(work())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "[::1", ""])
def test_other_host_names_are_refused_before_anything_else(
    run: Run, drawn_portraits: Path, host: str
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            assert line.split()[1] in (b"421", b"400")
            writer.close()

    run(work())


def test_every_answer_has_security_headers_and_no_cors(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            for path in ("/", "/view", "/static/app.css", "/portraits", "/nothing"):
                async with live.http.get(f"{live.url}{path}") as response:
                    policy = response.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy
                    assert "unsafe" not in policy
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    assert response.headers["Referrer-Policy"] == "no-referrer"
                    assert response.headers["Server"] == "mimicam"
                    assert not [name for name in response.headers if name.startswith("Access-Control")]

    run(work())


def test_too_many_wrong_tokens_have_to_wait(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(failures_per_minute=3)) as live:
            seen = [
                (await _status(live, "GET", "/portraits", headers={"Authorization": f"Bearer {n}"}))[0]
                for n in range(5)
            ]
            assert seen == [401, 401, 401, 429, 429]

    run(work())


def test_wrong_tokens_do_not_lock_the_right_one_out(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        options = with_limits(failures_per_minute=3)
        async with studio_running(drawn_portraits, options=options) as live, aiohttp.ClientSession() as other:
            for n in range(5):
                await _status(live, "GET", "/portraits", headers={"Authorization": f"Bearer {n}"})
            assert (await _status(live, "GET", "/portraits"))[0] == 200
            async with other.get(f"{live.url}/?token={TOKEN}") as response:
                assert response.status == 200, "nor the link"

    run(work())


def test_a_token_that_is_no_text_is_a_wrong_one(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
            head = b"GET /portraits HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
            writer.write(head)
            assert (await reader.readline()).split()[1] in (b"400", b"401")
            writer.close()

    run(work())


def test_nobody_without_a_key_uses_up_the_owners_connections(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        options = with_limits(offers_per_minute=3)
        sdp = {"data": "v=0\r\n", "headers": {"Content-Type": "application/sdp"}}
        async with studio_running(drawn_portraits, pool=_Shared(), options=options) as live:
            view = live.studio.publish_to(live.studio.new_identity())[1]
            async with aiohttp.ClientSession() as stranger:
                for _ in range(5):
                    async with stranger.post(f"{live.url}/whep?view=guess", **sdp) as response:
                        assert response.status == 404
                seen = []
                for _ in range(5):
                    async with stranger.post(f"{live.url}/whep?view={view}", **sdp) as response:
                        seen.append(response.status)
            assert seen == [400, 400, 400, 429, 429], "a viewer has connections of its own"
            owner = [(await _status(live, "POST", "/whip", **sdp))[0] for _ in range(5)]
            assert owner == [400, 400, 400, 429, 429]

    run(work())


def test_a_one_time_link_works_once(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        async with studio_running(drawn_portraits) as live, aiohttp.ClientSession(cookie_jar=jar) as browser:
            link = live.server.one_time_url()
            assert TOKEN not in link
            async with browser.get(link) as response:
                assert response.status == 200
            async with browser.get(f"{live.url}/portraits") as response:
                assert response.status == 200, "the cookie opens the rest"
            async with aiohttp.ClientSession() as thief, thief.get(link) as response:
                assert response.status == 401
                assert "used before" in await response.text()
            async with aiohttp.ClientSession() as thief, thief.get(f"{live.url}/portraits") as response:
                assert response.status == 401

    run(work())


def test_the_login_page_explains_a_wrong_token(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        options = with_limits(failures_per_minute=2)
        async with (
            studio_running(drawn_portraits, options=options) as live,
            aiohttp.ClientSession() as browser,
        ):
            for query, status, words in (
                ("", 401, "paste its token"), ("?token=guess", 401, "not the right one"),
                ("?token=guess", 401, "not the right one"), ("?token=guess", 429, "Wait a moment"),
            ):  # fmt: skip
                async with browser.get(f"{live.url}/{query}") as response:
                    text = await response.text()
                    assert (response.status, response.content_type) == (status, "text/html")
                    assert words in text
                    assert ('role="alert"' in text) == bool(query)

    run(work())


def test_other_sites_cannot_use_up_wrong_tokens(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        options = with_limits(failures_per_minute=3)
        async with (
            studio_running(drawn_portraits, options=options) as live,
            aiohttp.ClientSession(cookie_jar=jar) as browser,
        ):
            hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}
            for _ in range(10):
                async with browser.get(f"{live.url}/?token=guess", headers=hidden) as response:
                    assert response.status == 403
            clicked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
            async with browser.get(f"{live.url}/?token={TOKEN}", headers=clicked) as response:
                assert response.status == 200, "a link in a chat is welcome"
            for _ in range(5):
                await _status(live, "GET", "/portraits", headers={"Authorization": "Bearer guess"})
            async with browser.get(f"{live.url}/portraits") as response:
                assert response.status == 200, "who is signed in goes on"
            same = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "iframe"}
            async with browser.get(f"{live.url}/", headers=same) as response:
                assert response.status == 403, "not in another page's frame, either"

    run(work())


def test_a_thousand_offers_do_not_disturb_a_call(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(offers_per_minute=10)) as live:
            driver = Driver(live.http, live.url)
            assert await driver.call(settings={"mirror": False, "badge": "off"}) == 200
            await driver.frame()

            async def bad_offer() -> int:
                return (await _status(live, "POST", "/offer", json={"sdp": "v=0\r\n", "type": "offer"}))[0]

            statuses = [s for _ in range(20) for s in await asyncio.gather(*(bad_offer() for _ in range(50)))]
            assert set(statuses) <= {400, 429, 503}, "503: all places are taken while others are answered"
            assert statuses.count(429) > 900
            sent = driver.camera.sent
            await driver.frame_where(lambda image: (timecode.read(image) or 0) > sent)
            await driver.hang_up()

    run(work())


@pytest.mark.parametrize(
    "sdp",
    [
        "", "v=0", "hello", "v=0\r\nm=video", "v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 50,
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video x y z\r\na=candidate:\r\n",
    ],
)  # fmt: skip
def test_damaged_offers_are_refused_and_leave_nothing_behind(
    run: Run, drawn_portraits: Path, sdp: str
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, pool=_Shared()) as live:
            assert (await _status(live, "POST", "/offer", json={"sdp": sdp, "type": "offer"}))[0] == 400
            headers = {"Content-Type": "application/sdp"}
            for path in ("/whip", f"/whep?view={live.studio.publish_to(live.studio.new_identity())[1]}"):
                assert (await _status(live, "POST", path, data=sdp, headers=headers))[0] == 400, path
            assert (live.studio.calls, live.studio.viewers) == ([], 0)

    run(work())


class _Shared(EchoPool):
    shows_driver = False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400), (b"{", 400), (b"[" * 60000, 400), (b'{"sdp": 1, "type": "offer"}', 400),
        (b'{"sdp": "v=0", "type": "answer"}', 400), (b'{"sdp": "v=0", "type": "offer", "own": 3}', 400),
        (b'{"sdp": "v=0", "type": "offer", "settings": {"mode": "x"}}', 400),
        (b'{"sdp": "v=0", "type": "offer", "settings": {"portrait": "../../etc/passwd"}}', 400),
        (b" " * 70_000, 413),
    ],
)  # fmt: skip
def test_bodies_that_are_not_offers_are_refused(
    run: Run, drawn_portraits: Path, body: bytes, status: int
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            headers = {"Content-Type": "application/json"}
            assert (await _status(live, "POST", "/offer", data=body, headers=headers))[0] == status
            assert (await _status(live, "POST", "/offer", data=body))[0] == 415

    run(work())


def test_an_upload_becomes_a_portrait_known_only_by_its_id(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            ok, jpeg = cv2.imencode(".jpg", np.full((300, 200, 3), 90, np.uint8))
            assert ok
            status, entry = await _status(
                live,
                "POST",
                "/portraits?title=Me",
                data=jpeg.tobytes(),
                headers={"Content-Type": "image/jpeg"},
            )
            assert status == 201
            assert (entry["title"], entry["origin"]) == ("Me", "upload")
            assert len(entry["id"]) >= 20
            async with live.http.get(f"{live.url}/portraits") as response:
                listed = await response.json()
            assert [p["origin"] for p in listed["portraits"]].count("upload") == 0
            async with live.http.get(f"{live.url}/portraits/{entry['id']}") as response:
                assert cv2.imdecode(np.frombuffer(await response.read(), np.uint8), 1).shape == (192, 192, 3)
            assert (await _status(live, "DELETE", f"/portraits/{entry['id']}"))[0] == 204
            assert (await _status(live, "GET", f"/portraits/{entry['id']}"))[0] == 404
            assert (await _status(live, "DELETE", f"/portraits/{listed['default']}"))[0] == 403

    run(work())


@pytest.mark.parametrize(
    ("data", "kind", "status", "word"),
    [
        (_png(60_000, 60_000), "image/png", 422, "60000x60000"),
        (_png(65_535, 1)[:-40], "image/png", 422, "cut off"),
        (b"GIF89a" + b"\0" * 99, "image/png", 422, "JPEG, PNG or WebP"),
        (b"GIF89a" + b"\1" * 99, "image/gif", 422, "JPEG, PNG or WebP"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "image/heic", 422, "JPEG, PNG or WebP"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 400, "image/jpeg", 422, "JPEG"),
        (_png(64, 64)[:60], "image/png", 422, "cut off"),
        (b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 4, "image/webp", 422, "JPEG, PNG or WebP"),
        (b"", "image/png", 422, "JPEG"),
        (b"<svg/>", "image/svg+xml", 415, "JPEG"),
    ],
)  # fmt: skip
def test_uploads_that_are_not_usable_pictures_are_refused(
    run: Run, drawn_portraits: Path, data: bytes, kind: str, status: int, word: str
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            got, body = await _status(live, "POST", "/portraits", data=data, headers={"Content-Type": kind})
            assert got == status
            assert word in body["message"]

    run(work())


def test_an_upload_of_two_gigabytes_is_refused_unread(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
            head = (
                f"POST /portraits HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                "Content-Type: image/png\r\nContent-Length: 2147483648\r\n\r\n"
            )
            writer.write(head.encode())
            assert (await reader.readline()).split()[1] == b"413"
            writer.close()

    run(work())


def test_an_upload_without_a_length_is_cut_at_the_limit(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(upload_bytes=100_000)) as live:
            sent = 0

            async def endless():  # type: ignore[no-untyped-def]
                nonlocal sent
                while sent < 2_000_000_000:
                    sent += 65_536
                    yield bytes(65_536)

            headers = {"Content-Type": "image/png"}
            with contextlib.suppress(aiohttp.ClientConnectionError):  # it may hang up while we still talk
                assert (await _status(live, "POST", "/portraits", data=endless(), headers=headers))[0] == 413
            assert sent < 50_000_000

    run(work())


def test_a_slow_upload_is_aborted_in_time(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits, options=with_limits(upload_s=0.2)) as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
            head = (
                f"POST /portraits HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                "Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
            )
            writer.write(head.encode())
            assert (await reader.readline()).split()[1] == b"408"
            writer.close()

    run(work())


def test_uploads_that_trickle_hold_no_place_of_others(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            head = (
                f"POST /portraits HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                "Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
            )
            writers = []
            for _ in range(6):
                _, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
                writer.write(head.encode())
                writers.append(writer)
            png = cv2.imencode(".png", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
            kind = {"Content-Type": "image/png"}
            assert (await _status(live, "POST", "/portraits", data=png, headers=kind))[0] == 201
            for writer in writers:
                writer.close()

    run(work())


def test_bodies_in_memory_are_bounded_together() -> None:
    room = Room(100)
    with room.share() as first, room.share() as second:
        first(60)
        with pytest.raises(HttpRefusal, match="too many uploads"):
            second(50)
        second(40)
    with room.share() as third:
        third(100)


def test_paths_lead_nowhere_on_disk(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
            for path in (
                "/static/../options.py",
                "/static/%2e%2e/options.py",
                "/portraits/..%2f..%2fREADME.md",
            ):
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
                )
                status = (await reader.readline()).split()[1]
                assert status in (b"403", b"404"), path
                length = 0
                while (line := await reader.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length"):
                        length = int(line.split(b":")[1])
                await reader.readexactly(length)
            writer.close()

    run(work())


def test_the_pages_files_are_typed_and_not_sent_twice(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            async with live.http.get(f"{live.url}/static/app.js") as response:
                assert (response.status, response.content_type) == (200, "text/javascript")
                tag = response.headers["ETag"]
            for given, status in ((tag, 304), ('"other"', 200)):
                async with live.http.get(
                    f"{live.url}/static/app.js", headers={"If-None-Match": given}
                ) as response:
                    assert response.status == status
            for name in ("nothing.js", "..%2foptions.py", ""):
                assert (await _status(live, "GET", f"/static/{name}"))[0] == 404

    run(work())


def test_the_description_lists_exactly_the_routes(run: Run) -> None:
    async def work() -> None:
        app = make_app(OPTIONS, EchoPool(), _no_library())
        described = openapi()["paths"]
        methods = {
            (m.upper(), p)
            for p, item in described.items()
            for m in item
            if m in ("get", "post", "delete", "options")
        }
        served = {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.method != "HEAD" and route.resource is not None
            and not route.resource.canonical.startswith("/static")
        }  # fmt: skip
        assert methods == served

    run(work())


def _no_library():  # type: ignore[no-untyped-def]
    return object()


def test_metrics_count_calls_and_answers(run: Run, drawn_portraits: Path) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url)
            await driver.call()
            await driver.frame()
            async with live.http.get(f"{live.url}/metrics") as response:
                text = await response.text()
            await driver.hang_up()
        assert re.search(r"^mimicam_calls 1$", text, re.M)
        assert 'mimicam_http_answers_total{route="/offer",status="200"} 1' in text
        assert 'mimicam_call_frame_age_seconds{call="0",quantile="0.5"}' in text
        assert TOKEN not in text

    run(work())


def test_a_rate_lets_a_burst_through_and_then_one_at_a_time() -> None:
    now = [100.0]
    rate = RateLimit(60, now=lambda: now[0])
    assert sum(rate.take("a") == 0 for _ in range(100)) == 60
    assert rate.take("b") == 0
    now[0] += 1.0
    assert [rate.take("a") == 0 for _ in range(2)] == [True, False]


def test_keys_give_one_right_only_and_forged_ones_none() -> None:
    keys = ViewKeys("a")
    identity = keys.new_identity()
    own, view = keys.key("own", identity), keys.key("view", identity)
    assert (keys.identity("own", own), keys.identity("view", view)) == (identity, identity)
    assert keys.identity("own", view) is None
    assert ViewKeys("a").identity("own", own) == identity, "a restarted server with the same token knows it"
    assert ViewKeys("b").identity("own", own) is None
    for forged in ("", ".", "x.y", own[:-1], own + "A", "é." + own, own.replace(".", "..")):
        assert keys.identity("own", forged) is None


def test_an_empty_folder_of_portraits_is_an_error(tmp_path: Path) -> None:
    from mimicam.engine.web.portrait_library import PortraitLibrary

    with pytest.raises(EngineError, match="--portraits"):
        PortraitLibrary(EchoPool(), folder=tmp_path / "missing")
