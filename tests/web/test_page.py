"""The page in Chromium, used as a person does."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.types import Mode
from mimicam.engine.web.pipeline_pool import EchoPool
from mimicam.engine.web.server import Server
from tests.heif_files import write_heic
from tests.web.browser import Page, browser_with, serving, write_painted_camera
from tests.web.conftest import OPTIONS, TOKEN

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    camera = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_painted_camera(camera)
    with browser_with(camera) as running:
        yield running


@pytest.fixture(scope="module")
def server(drawn_portraits: Path) -> Iterator[Server]:
    with serving(
        drawn_portraits, options=replace(OPTIONS, limits=replace(OPTIONS.limits, offers_per_minute=600))
    ) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Page]:
    with Page(browser, server) as opened:
        yield opened.open()


def _tile(page: Page, title: str) -> Any:
    return page.page.get_by_role("radio", name=title)


def test_the_page_shows_the_result_without_console_errors(page: Page) -> None:
    assert TOKEN not in page.page.url, "a streamer's address bar must not show the token"
    page.start()
    before = page.shown_pictures()
    page.until(lambda: page.shown_pictures() > before + 5, "more results are shown")
    page.until(lambda: "Live" in page.page.inner_text("#status"), "the page says that it is live")
    page.page.click("#stop")
    page.until(lambda: page.server.studio.calls == [], "the call ends")  # type: ignore[union-attr]
    assert page.complaints == []


def test_the_frame_age_is_measured_by_numbers_that_come_back(page: Page) -> None:
    page.start()
    page.page.click("#stats summary")
    page.page.click("#measure")
    page.until(lambda: "(p50)" in page.page.inner_text("#measure-text"), "a measurement is told")
    assert (
        page.settings().measure is False or page.until(lambda: not page.settings().measure, "it ends") is None
    )


def test_portrait_mode_gain_shape_and_badge_change_while_live(page: Page) -> None:
    page.start()
    _tile(page, "Green one").check()
    page.until(lambda: page.colour()[1] > page.colour()[2] + 60, "the result is green")
    _tile(page, "Blue one").check()
    page.until(lambda: page.colour()[2] > page.colour()[1] + 60, "the result is blue")
    page.page.get_by_role("radio", name="Head").check(force=True)
    page.until(lambda: page.settings().edit.mode is Mode.POSE, "the mode has reached the server")
    page.page.focus("#expression_gain")
    page.page.keyboard.press("End")
    page.until(lambda: page.settings().edit.expression_gain == 2.0, "the gain has reached the server")
    page.page.get_by_role("radio", name="Square").check(force=True)
    page.until(
        lambda: page.page.evaluate("document.querySelector('#result').videoWidth") == 256, "it is square"
    )
    page.page.select_option("#background", "green")
    page.until(lambda: page.colour()[1] > page.colour()[2] + 60, "the portrait is before green")
    page.page.select_option("#badge", "off")
    page.until(lambda: page.settings().badge == "off", "the badge is off")
    assert page.complaints == []


def test_keys_work_where_nobody_is_typing(page: Page) -> None:
    page.start()
    page.until(lambda: page.settings().edit.mode is Mode.BOTH, "the call has begun")
    page.page.keyboard.press("m")
    page.until(lambda: page.settings().edit.mode is Mode.EXP, "m takes the next mode")
    page.page.keyboard.press("s")
    page.until(lambda: page.settings().standby, "s is standby")
    page.until(lambda: max(page.colour()) < 40, "standby is shown")
    page.page.keyboard.press("?")
    assert page.page.get_by_role("heading", name="Help").is_visible()


def test_the_own_face_is_shown_with_a_note_and_never_by_a_setting_of_before(page: Page) -> None:
    note, switch = page.page.locator("#own-face-note"), page.page.locator("#own_face")
    page.start()
    assert not note.is_visible()
    assert not page.settings().own_face
    switch.check()
    page.until(note.is_visible, "the page shows whose picture it is")
    assert page.settings().own_face
    page.page.reload()
    page.start()
    assert not switch.is_checked()
    assert not page.settings().own_face
    assert not note.is_visible()
    assert page.complaints == []


def test_presets_have_buttons_sliders_and_keys_and_outlive_a_reconnection(page: Page) -> None:
    def asked() -> list[Any]:
        calls = page.server.studio.calls[-1:]  # type: ignore[union-attr]
        return [change for call in calls for change in call.worker.presets._asked]

    page.start()
    page.page.keyboard.press("j")
    page.until(lambda: asked()[-1:] == [("smile", 1.0)], "the key switches the preset on")
    assert page.page.get_attribute("[data-preset=smile]", "aria-pressed") == "true"
    page.page.click("[data-preset=wink]")
    page.until(lambda: asked()[-1:] == [("wink", None)], "one that leaves by itself is pressed on the server")
    page.page.fill("[data-preset-amount=smile]", "0.5")
    page.until(lambda: asked()[-1:] == [("smile", 0.5)], "the slider sets the amount")
    page.page.evaluate("() => window.mimicam.link.retry()")
    page.until(lambda: asked() == [("smile", 0.5)], "a new call gets what is on")
    page.page.click("[data-preset=smile]")
    page.until(lambda: asked()[-1:] == [("smile", 0.0)], "the button switches it off")
    assert page.page.get_attribute("[data-preset=smile]", "aria-pressed") == "false"
    assert page.complaints == []


def test_the_keyboard_focus_survives_start_and_stop(page: Page) -> None:
    page.page.focus("#start")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#stage[data-live=true]")
    page.until(lambda: page.page.evaluate("document.activeElement.id") == "calibrate", "the next step has it")
    page.page.focus("#stop")
    page.page.keyboard.press("Enter")
    page.until(lambda: page.page.evaluate("document.activeElement.id") == "start", "the way back has it")


def test_an_uploaded_picture_becomes_the_portrait(page: Page) -> None:
    page.start()
    red = cv2.imencode(".png", np.full((120, 90, 3), (0, 0, 200), np.uint8))[1].tobytes()
    page.page.set_input_files("#file", {"name": "Red one.png", "mimeType": "image/png", "buffer": red})
    page.until(lambda: page.colour()[0] > page.colour()[1] + 60, "the result is red")
    page.page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"nothing"})
    page.until(lambda: "This file is not a picture" in page.page.inner_text("#toasts"), "it says why")
    page.page.reload()
    page.until(lambda: _tile(page, "Red one").count() == 1, "it is there after a reload")
    page.page.get_by_role("button", name="Remove Red one").click(force=True)
    page.until(lambda: _tile(page, "Red one").count() == 0, "it is gone")


def test_an_upload_is_kept_when_asking_for_it_fails(page: Page) -> None:
    red = cv2.imencode(".png", np.full((120, 90, 3), (0, 0, 200), np.uint8))[1].tobytes()
    page.page.set_input_files("#file", {"name": "Kept.png", "mimeType": "image/png", "buffer": red})
    page.until(lambda: _tile(page, "Kept").count() == 1, "it is in the gallery")
    uploads = page.page.evaluate("window.mimicam.gallery.mine.map((portrait) => portrait.id)")
    page.page.route(f"**/portraits/{uploads[-1]}", lambda route: route.abort())
    page.page.reload()
    page.until(lambda: _tile(page, "Kept").count() == 1, "it is still there")


def test_a_picture_that_the_browser_cannot_read_is_sent_as_it_is(page: Page) -> None:
    page.start()
    heic = write_heic(np.full((64, 64, 3), (200, 0, 0), np.uint8))
    page.page.set_input_files("#file", {"name": "a.heic", "mimeType": "", "buffer": heic})
    page.until(lambda: page.colour()[0] > page.colour()[1] + 60, "the result is red")


@pytest.mark.parametrize("kind", ["webm", "mp4"])
def test_a_recording_has_sound_and_the_synthetic_tag(page: Page, kind: str) -> None:
    page.page.get_by_text("Record my voice").click()
    page.start()
    if kind == "mp4":  # as Safari records; this Chromium has other codecs for it
        page.page.evaluate("window.mimicam.recorder.types = ['video/mp4;codecs=vp9,opus']")
        if not page.page.evaluate("MediaRecorder.isTypeSupported('video/mp4;codecs=vp9,opus')"):
            pytest.skip("this Chromium does not record MP4")
    page.page.click("#record")
    page.until(lambda: page.page.inner_text("#recording-time") > "0:01", "two seconds are recorded")
    with page.page.expect_download() as download:
        page.page.click("#record")
    assert download.value.suggested_filename.endswith(kind)
    with av.open(str(download.value.path()), options={"export_xmp": "1"}) as recording:
        assert recording.duration is not None, "players show how long it is"
        assert recording.duration > 1.5e6
        if kind == "webm":
            assert recording.metadata["COMMENT"].startswith("Synthetic")
            assert recording.metadata["DIGITAL_SOURCE_TYPE"] == SOURCE_TYPE
        else:
            assert f'DigitalSourceType="{SOURCE_TYPE}"' in recording.metadata["xmp"]
        assert len(recording.streams.audio) == 1
        pictures = [frame.to_ndarray(format="rgb24") for frame in recording.decode(video=0)]
    assert {picture.shape for picture in pictures} == {(256, 342, 3)}
    assert len(pictures) > 10, "it plays in full"
    with av.open(str(download.value.path())) as recording:
        heard = sum(frame.samples / frame.sample_rate for frame in recording.decode(audio=0))
    assert heard > 1.0, "with its sound"


_MARKED = """async (base64) => {
    const { markRecording } = await import('/static/provenance.js');
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const marked = await markRecording(new Blob([bytes], { type: 'video/webm' }), 2);
    return btoa(String.fromCharCode(...new Uint8Array(await marked.arrayBuffer())));
}"""


def test_a_finished_recording_keeps_its_offsets(page: Page) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as recording:
        stream = recording.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * n, np.uint8), format="rgb24")
            recording.mux(stream.encode(picture))
        recording.mux(stream.encode(None))
    whole = file.getvalue()
    marked = base64.b64decode(page.page.evaluate(_MARKED, base64.b64encode(whole).decode()))
    assert marked.startswith(whole[:4])
    assert whole[whole.index(b"webm") + 40 :] in marked, "nothing in it was moved"
    assert SOURCE_TYPE.encode() in marked[len(whole) :]
    with av.open(io.BytesIO(marked)) as recording:
        recording.seek(1_500_000)
        assert next(recording.decode(video=0)).time >= 0.0
        recording.seek(0)
        assert sum(1 for _ in recording.decode(video=0)) == 20


def test_other_files_are_not_taken_for_webm(page: Page) -> None:
    with pytest.raises(Exception, match="did not record WebM"):
        page.page.evaluate(_MARKED, base64.b64encode(bytes(range(256))).decode())


def test_a_snapshot_has_the_synthetic_tag(page: Page) -> None:
    page.start()
    with page.page.expect_download() as download:
        page.page.click("#snapshot")
    data = Path(download.value.path()).read_bytes()
    chunks = _png_chunks(data)
    assert list(chunks)[:2] == [b"IHDR", b"iTXt"]
    assert chunks[b"iTXt"].startswith(b"XML:com.adobe.xmp\0\0\0\0\0<?xpacket")
    xmp = ElementTree.fromstring(chunks[b"iTXt"].split(b"?>", 1)[1].rsplit(b"<?xpacket", 1)[0])
    assert [
        value for node in xmp.iter() for key, value in node.items() if key.endswith("}DigitalSourceType")
    ] == [SOURCE_TYPE]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (256, 342, 3)


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunks of a PNG by name. Checks their checksums."""
    at, chunks = 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body), (
            kind
        )
        chunks.setdefault(kind, body)
        at += 12 + length
    return chunks


def test_the_obs_link_shows_only_the_result(browser: Any, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=page.server.url)
    page.start()
    page.page.get_by_text("OBS link without background").click()
    page.page.click("#share")
    page.until(lambda: "clipboard" in page.page.inner_text("#toasts"), "the link was copied")
    link = page.page.evaluate("navigator.clipboard.readText()")
    assert TOKEN not in link
    with Page(browser, page.server, camera=False) as viewer:
        viewer.page.goto(link)
        viewer.until(lambda: viewer.shown_pictures() > 5, "the viewer sees pictures")
        background = viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgba(0, 0, 0, 0)"
        assert viewer.page.evaluate("fetch('/portraits').then((r) => r.status)") == 401
        page.until(lambda: page.server.studio.viewers == 1, "one viewer is counted")  # type: ignore[union-attr]
    page.until(lambda: page.server.studio.viewers == 0, "the viewer has left")  # type: ignore[union-attr]


def test_a_refused_camera_is_explained_and_can_be_tried_again(browser: Any, server: Server) -> None:
    with Page(browser, server, camera=False) as page:
        page.open().page.click("#start")
        page.until(lambda: "not allowed" in page.page.inner_text("#notice"), "it says why")
        page.context.grant_permissions(["camera"], origin=server.url)
        page.page.click("#notice-action")
        page.page.wait_for_selector("#stage[data-live=true]")


def test_a_stranger_gets_a_login_and_the_token_opens_it(browser: Any, server: Server) -> None:
    with Page(browser, server) as page:
        page.page.goto(server.url)
        assert page.page.get_by_role("heading", name="locked").is_visible()
        page.page.fill("input[name=token]", TOKEN)
        page.page.click("button")
        page.page.wait_for_selector("#start")


def test_a_waiting_page_connects_when_a_place_is_free(browser: Any, drawn_portraits: Path) -> None:
    options = replace(OPTIONS, limits=replace(OPTIONS.limits, calls=1))
    with serving(drawn_portraits, options=options) as server, Page(browser, server) as first:
        first.open().start()
        with Page(browser, server) as second:
            second.open().page.click("#start")
            second.until(lambda: "Every place is taken" in second.page.inner_text("#notice"), "it says so")
            first.page.click("#stop")
            second.page.wait_for_selector("#stage[data-live=true]")


def test_the_page_reconnects_to_a_restarted_server(browser: Any, drawn_portraits: Path) -> None:
    with serving(drawn_portraits) as server:
        page = Page(browser, server).open().start()
        options = server.options
    page.until(lambda: page.page.get_attribute("#status", "data-state") == "bad", "the page notices")
    with serving(drawn_portraits, options=options) as again:
        page.server = again
        page.until(lambda: "Live" in page.page.inner_text("#status"), "it is live again")
        before = page.shown_pictures()
        page.until(lambda: page.shown_pictures() > before + 3, "results are shown again")
        page.close()


def test_every_input_has_a_name_for_screen_readers(page: Page) -> None:
    nameless = page.page.evaluate("""() => [...document.querySelectorAll('button, input:not([hidden]), select, video, a')]
        .filter((e) => !e.hidden && !(e.ariaLabel || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)""")
    assert nameless == []
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.textContent") == "Skip to the result"


@pytest.mark.parametrize("width", [1280, 660, 390, 320])
def test_every_choice_and_its_label_fit_the_width(page: Page, width: int) -> None:
    page.page.set_viewport_size({"width": width, "height": 844})
    cut_off = page.page.evaluate("""() => [...document.querySelectorAll('select:not(#cameras)')].flatMap((select) => {
        const wanted = select.cloneNode(true);
        wanted.style.width = 'max-content';
        document.body.append(wanted);
        const needs = wanted.offsetWidth;
        wanted.remove();
        const label = select.labels[0].querySelector('span');
        const tight = needs > select.offsetWidth || label.scrollWidth > label.clientWidth || label.clientHeight > 24;
        return tight ? [[select.id, needs, select.offsetWidth, label.clientHeight]] : [];
    })""")
    assert cut_off == []


def test_a_kept_choice_that_is_no_longer_offered_is_ignored(browser: Any, server: Server) -> None:
    with Page(browser, server, camera=False) as page:
        page.context.add_init_script("localStorage['mimicam.settings'] = JSON.stringify({mode: 'gone'})")
        page.open().page.wait_for_selector(".tile")
        assert page.page.locator("input[name=mode]:checked").input_value() == "both"
        assert page.complaints == []


def test_a_phone_shows_the_page_without_sideways_scrolling(browser: Any, server: Server) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(f"{server.url}/?token={TOKEN}")
    page.wait_for_selector(".tile")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_the_null_model_shows_the_driver_only_to_the_driver(browser: Any, drawn_portraits: Path) -> None:
    with serving(drawn_portraits, pool=EchoPool()) as server, Page(browser, server) as page:
        page.open().start()
        key = page.page.evaluate("window.mimicam.link.view")
        with Page(browser, server, camera=False) as viewer:
            viewer.page.goto(f"{server.url}/view#{key}")
            viewer.until(lambda: "driver only" in viewer.page.inner_text("#words"), "it is refused")


_SAY_EVERYTHING = """() => {
    const [over, notice] = [document.getElementById('over'), document.getElementById('notice')];
    document.getElementById('notice-title').textContent = 'This computer is too slow for that size';
    document.getElementById('notice-text').textContent = 'Only 12 pictures a second. Choose a lower resolution'
        + ' under Picture, or close other programs.';
    document.getElementById('notice-action').textContent = 'Use 256 lines';
    new MutationObserver(() => over.querySelectorAll('#over [hidden]').forEach((one) => { one.hidden = false; }))
        .observe(over, { attributes: true, subtree: true });
    notice.hidden = false;
    notice.setAttribute('data-seen', '');
}"""
_COVERING = """(badge) => {
    const video = document.getElementById('result'), box = video.getBoundingClientRect();
    const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
    const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
    const left = box.left + (box.width - width) / 2, top = box.top + (box.height - height) / 2;
    const [wide, high] = [width * 0.3, height * 0.085];  // the badge and its margin are not larger
    const x = badge.endsWith('left') ? left : left + width - wide, y = badge.startsWith('top') ? top : top + height - high;
    const over = document.getElementById('over').getBoundingClientRect();
    return [...document.querySelectorAll('#over > *, .toast')].filter((one) => {
        const seen = one.getBoundingClientRect();
        const [above, below] = [Math.max(seen.top, over.top), Math.min(seen.bottom, over.bottom)];
        const [from, to] = one.className.startsWith('toast') ? [seen.top, seen.bottom] : [above, below];
        return seen.width && to > from && seen.left < x + wide && seen.right > x && from < y + high && to > y;
    }).map((one) => one.className);
}"""


@pytest.mark.parametrize(
    ("width", "height", "full"), [(1280, 720, False), (1280, 720, True), (390, 844, False), (320, 640, False)]
)
def test_no_message_covers_the_synthetic_label(
    browser: Any, server: Server, width: int, height: int, full: bool
) -> None:
    with Page(browser, server) as page:
        page.page.set_viewport_size({"width": width, "height": height})
        page.open().start()
        if full:
            page.page.click("#full")
            page.until(lambda: page.page.evaluate("!!document.fullscreenElement"), "it fills the screen")
        page.page.evaluate(_SAY_EVERYTHING)
        page.page.keyboard.press("p")
        page.page.wait_for_selector(".toast")
        for badge in ("bottom-right", "bottom-left", "top-left", "top-right"):
            page.page.evaluate(
                "(badge) => { const list = document.getElementById('badge'); list.value = badge;"
                " list.dispatchEvent(new Event('input')); }", badge
            )  # fmt: skip
            assert page.page.is_visible("#notice")
            assert page.page.is_visible("#recording")
            assert page.page.evaluate(_COVERING, badge) == [], badge


_ADVICE = """async (cases) => {
    const { slowness, usefulRate } = await import('/static/advice.js');
    const advised = ([server, rest]) => [
        slowness({ server, limited: false, height: 480, ...rest }), usefulRate(server, rest.limit ?? Infinity)];
    return cases.map((one) => advised(one).map((part) => (part === Infinity ? 'all' : part)));
}"""


def test_the_bottleneck_is_named_and_the_rate_is_limited(page: Page) -> None:
    def server(drawn: float, received: float, calls: int = 1, busy: float = 0.9) -> dict[str, float]:
        return {"fps_out": drawn, "fps_in": received, "calls": calls, "busy": busy}

    fine, crowded, alone, small, dark, far, eased, bursts, clearing = page.page.evaluate(
        _ADVICE,
        [
            [server(28, 30), {"shown": 28, "sent": 30}],
            [server(9, 30, 3), {"shown": 9, "sent": 30}],
            [server(12, 30), {"shown": 12, "sent": 30}],
            [server(12, 30), {"shown": 12, "sent": 30, "height": 256}],
            [server(9, 9), {"shown": 9, "sent": 9}],
            [server(28, 30), {"shown": 6, "sent": 30}],
            [server(14, 15), {"shown": 14, "sent": 15, "limited": True, "limit": 15}],
            [server(5, 30, busy=0.2), {"shown": 4, "sent": 30}],
            [server(5, 10, busy=0.2), {"shown": 4, "sent": 10, "limited": True, "limit": 10}],
        ],
    )
    assert fine == [None, "all"]
    assert "3 people share it" in crowded[0]["text"]
    assert crowded[1] == 12
    assert alone[0]["smaller"]
    assert alone[0]["title"] == "The computer that runs mimicam is too slow"
    assert "graphics card" in small[0]["text"]
    assert "light" in dark[0]["text"]
    assert dark[1] == "all", "a camera that gives few pictures is not held back further"
    assert far[0]["title"] == "The connection is slow"
    assert eased[1] == 18, "when all that come are drawn, more may come"
    assert bursts[0]["title"] == "The connection is slow"
    assert bursts[1] == "all", "a network that brings pictures in bursts is no reason to send fewer"
    assert clearing[1] == 16


def test_the_rate_limit_applies_and_is_lifted(page: Page) -> None:
    page.start()
    page.page.evaluate("window.mimicam.link.limitRate(4)")
    page.until(
        lambda: page.page.evaluate("(window.mimicam.stats.server?.fps_in ?? 99) < 6"), "four a second come"
    )
    page.page.evaluate("window.mimicam.link.limitRate(Infinity)")
    page.until(lambda: page.page.evaluate("window.mimicam.stats.server.fps_in") > 7, "the camera's ten come")
    assert page.complaints == []


def test_a_blocked_connection_is_explained(browser: Any, server: Server) -> None:
    def without_addresses(route: Any) -> None:
        def bare(body: dict[str, Any]) -> dict[str, Any]:
            lines = body["sdp"].split("\r\n")
            return {**body, "sdp": "\r\n".join(line for line in lines if not line.startswith("a=candidate"))}

        response = route.fetch(post_data=json.dumps(bare(json.loads(route.request.post_data))))
        route.fulfill(response=response, json=bare(response.json()))

    with Page(browser, server) as page:
        page.page.route("**/offer", without_addresses)
        page.open().page.evaluate("window.mimicam.link.connectMs = 1000")
        page.page.click("#start")
        page.until(lambda: "UDP" in page.page.inner_text("#notice"), "it says what is in the way")
        page.page.unroute("**/offer")
        page.page.wait_for_selector("#stage[data-live=true]", timeout=30_000)
        page.until(lambda: not page.page.is_visible("#notice"), "it says nothing any more")
