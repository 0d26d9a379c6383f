"""The studio's parts by themselves."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import ssl
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp.http_exceptions import BadStatusLine
from hypothesis import given, settings
from hypothesis import strategies as st

from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import Portrait
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.types import EditSettings, Frame, Mode
from mimicam.engine.web import certificate, command, pictures, timecode
from mimicam.engine.web.auth import OneTimeCodes
from mimicam.engine.web.call_worker import CallState, RateMeter, _CallPath
from mimicam.engine.web.command import Serve
from mimicam.engine.web.log import KeyValueFormatter, without_request
from mimicam.engine.web.options import is_loopback
from mimicam.engine.web.pipeline_pool import EchoPath, EchoPool, spare_threads
from mimicam.engine.web.protocol import SCHEMA, changed, parse
from mimicam.engine.web.settings import MessageError, Settings
from mimicam.engine.web.sink import WebRtcSink
from tests.web.clients import watcher_offer
from tests.web.conftest import Run


@settings(deadline=None)
@given(number=st.integers(0, 4095), width=st.integers(64, 1280), height=st.integers(48, 960))
def test_a_painted_number_is_read_again_at_any_size(number: int, width: int, height: int) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    timecode.paint(image, number)
    assert timecode.read(image) == number


def test_a_painted_number_survives_scaling_and_compression() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    assert sum(timecode.read(np.roll(noise, k, 0)) is not None for k in range(100)) < 10
    image = cv2.GaussianBlur(noise, (0, 0), 9)
    timecode.paint(image, 2730)
    small = cv2.resize(image, (214, 160), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
    assert timecode.read(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == 2730


def test_presets_outlive_a_change_of_size() -> None:
    used: list[PresetMixer] = []

    class Recorder(EchoPath):
        def use_presets(self, presets: PresetMixer) -> None:
            used.append(presets)

    class Recording(EchoPool):
        presets = (BUNDLED["smile"],)

        def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> Recorder:
            return Recorder(size, edit, portrait)

    portrait = EchoPool().enroll(np.zeros((64, 64, 3), np.uint8), "x")
    state = CallState(settings=Settings(portrait="x"), portrait=portrait)
    path = _CallPath(Recording(), state)
    with path.lent():
        path.wanted = replace(state, settings=changed(state.settings, {"height": 256}))
        path._apply_changes()
    assert used == [path.presets, path.presets]
    assert list(path.presets.presets) == ["smile"]


class _Kind(EchoPath):
    """A path that draws only what it observed itself, in its own grey."""

    def observe(self, frame: Frame) -> Any:
        return (self, frame)

    def draw(self, observation: Any) -> Frame:
        observer, frame = observation
        assert observer is self, "a path got what another kind of path observed"
        return replace(frame, image=np.full((self.size[1], self.size[0], 3), self.grey, np.uint8))

    grey = 100


class _Own(_Kind):
    grey = 200


class _Picture:
    def to_ndarray(self, **_: object) -> np.ndarray:
        return np.full((48, 64, 3), 255, np.uint8)


def test_the_own_face_is_shown_only_while_it_is_chosen() -> None:
    class Both(EchoPool):
        edits_own_face = True

        def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> _Kind:
            return _Kind(size, edit, portrait)

        def open_own_face(self, edit: EditSettings, size: tuple[int, int]) -> _Own:
            return _Own(size, edit, portrait)

    portrait = EchoPool().enroll(np.zeros((64, 64, 3), np.uint8), "x")
    plain = Settings(portrait="x", badge="off")
    path = _CallPath(Both(), CallState(settings=plain, portrait=portrait))

    def levels(*wanted: Settings) -> list[int]:
        """Draw a frame observed before each change, and one observed after it."""
        shown = []
        for settings_ in wanted:
            before = path.observe((_Picture(), 0))
            path.wanted = CallState(settings=settings_, portrait=portrait)
            shown += [path.draw(before), path.draw(path.observe((_Picture(), 0)))]
        return [int(np.median(result.yuv[: result.yuv.shape[0] // 2])) for result in shown]

    black, portraits, own = 16, 102, 188
    with path.lent():
        found = levels(plain, replace(plain, own_face=True), plain)
    assert found == pytest.approx([portraits, portraits, black, own, black, portraits], abs=1)


def test_one_of_several_cores_is_left_to_connections() -> None:
    assert [spare_threads(cores) for cores in (1, 2, 4, 16)] == [1, 1, 3, 4]


def test_log_lines_are_key_value_pairs() -> None:
    def line(text: str, *args: object) -> str:
        record = logging.LogRecord("mimicam.engine.web.studio", logging.INFO, "", 0, text, args, None)
        record.created, record.msecs = 1_795_273_200.5, 500.0
        return KeyValueFormatter().format(record)

    assert line("event=call_started calls=%d", 2) == (
        "time=2026-11-21T15:00:00.500Z level=info logger=mimicam.engine.web.studio event=call_started calls=2"
    )
    assert line('it "failed"\nbadly').endswith('message="it \\"failed\\"\\nbadly"')


def test_an_invalid_request_is_logged_without_its_content() -> None:
    error = BadStatusLine("GET /?token=secret HTTP/9")
    record = logging.LogRecord(
        "aiohttp.server", logging.ERROR, "", 0, "Error from %s", ("::1",), (type(error), error, None)
    )
    assert without_request(record)
    assert (
        KeyValueFormatter()
        .format(record)
        .endswith("level=info logger=aiohttp.server event=bad_request error=BadStatusLine")
    )
    other = ValueError("ours")
    record = logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "Error", (), (ValueError, other, None))
    assert without_request(record)
    assert "ValueError: ours" in KeyValueFormatter().format(record), "our own mistakes keep their traceback"


def test_a_rate_is_that_of_the_last_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [0]
    monkeypatch.setattr("mimicam.engine.web.call_worker.time.monotonic_ns", lambda: now_ns[0])
    meter = RateMeter()
    for step_ms, count in ((33, 300), (500, 6)):
        for _ in range(count):
            now_ns[0] += step_ms * 1_000_000
            meter.tick()
    assert meter.per_s() == pytest.approx(2.0, abs=0.1)
    now_ns[0] += 4_500_000_000
    assert meter.per_s() == pytest.approx(0.2, abs=0.01), "it falls when frames stay away"


def test_a_page_is_opened_only_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not command._has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert command._has_screen()


def test_a_browser_is_started_with_a_code_not_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(command.webbrowser, "open", opened.put)
    monkeypatch.setattr(command, "_has_screen", lambda: True)
    serve = command.Serve(token="a word of the owner", port=0)
    server = SimpleNamespace(
        options=serve.options(),
        url="http://127.0.0.1:1",
        one_time_url=lambda: "http://127.0.0.1:1/?code=once",
    )
    serve._say_ready(server)  # type: ignore[arg-type]
    assert opened.get(timeout=5) == "http://127.0.0.1:1/?code=once"


def test_a_code_opens_once_and_for_a_minute() -> None:
    now = [0.0]
    codes = OneTimeCodes(now=lambda: now[0])
    first, second = codes.make(), codes.make()
    assert first != second
    assert codes.take(first)
    assert not codes.take(first), "once"
    now[0] = 61.0
    assert not codes.take(second), "a minute"
    assert not codes.take("guess")


def test_schema_and_settings_have_the_same_fields() -> None:
    settings = Settings(portrait="x")
    assert set(SCHEMA["$defs"]["settings"]["properties"]) == set(settings.values())
    assert changed(settings, settings.values()) == settings


@pytest.mark.parametrize("framing", ["wide", "square", "tall"])
@pytest.mark.parametrize("height", [256, 360, 480, 720])
def test_results_have_even_sides_and_the_chosen_height(framing: str, height: int) -> None:
    size = changed(Settings(portrait="x"), {"framing": framing, "height": height}).size
    assert min(size) == height
    assert all(side % 2 == 0 for side in size)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    value=_JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["set", "ping", "calibrate", "preset"]), "settings": _JSON}
    )
)
def test_any_message_is_understood_or_refused_in_words(value: object) -> None:
    with contextlib.suppress(MessageError):
        parse(json.dumps(value))


def test_a_refusal_is_one_line_whatever_it_quotes() -> None:
    with pytest.raises(MessageError) as caught:
        parse(json.dumps({"type": "set", "settings": {"a\nb": 1}}))
    assert str(caught.value) == r"settings has no 'a\nb'"


def test_a_mode_that_the_model_lacks_is_refused_in_words() -> None:
    asked = changed(Settings(portrait="x"), {"mode": "exp"})
    assert asked.require(tuple(Mode), has_blendshapes=False, own_face=False) is asked
    with pytest.raises(MessageError, match="cannot be driven in mode exp: use both"):
        asked.require((Mode.BOTH,), has_blendshapes=True, own_face=False)
    own = changed(Settings(portrait="x"), {"own_face": True})
    assert own.require(tuple(Mode), has_blendshapes=True, own_face=True) is own
    with pytest.raises(MessageError, match="this model cannot edit your own face"):
        own.require(tuple(Mode), has_blendshapes=True, own_face=False)


def test_a_region_that_the_model_cannot_move_alone_is_refused_in_words() -> None:
    asked = changed(Settings(portrait="x"), {"brows_gain": 0.5})
    assert asked.require(tuple(Mode), has_blendshapes=True, own_face=False) is asked
    with pytest.raises(MessageError, match="leave brows-gain at 1"):
        asked.require(tuple(Mode), has_blendshapes=False, own_face=False)


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_refused_in_words(data: bytes) -> None:
    for head in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP"):
        with pytest.raises(EngineError):
            pictures.decode(head + data, max_pixels=1_000_000)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_the_size_of_a_picture_is_checked_before_decoding(kind: str) -> None:
    data = cv2.imencode(kind, np.full((37, 91, 3), 128, np.uint8))[1].tobytes()
    assert pictures.decode(data, max_pixels=4000).shape == (37, 91, 3)
    with pytest.raises(EngineError, match="91x37"):
        pictures.decode(data, max_pixels=3000)


def test_a_self_signed_certificate_is_accepted_by_who_knows_it() -> None:
    server, fingerprint = certificate.self_signed(frozenset({"studio.example", "192.0.2.7"}))
    assert len(fingerprint.split(":")) == 32
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    a = client.wrap_bio(theirs, ours, server_hostname="studio.example")
    b = server.wrap_bio(ours, theirs, server_side=True)
    for _ in range(4):
        for side in (a, b):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert a.getpeercert(binary_form=True) is not None
    assert a.version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"host": "0.0.0.0"}, "--self-signed"), ({"host": "192.168.1.2"}, "TLS"), ({"port": 70000}, "--port"),
        ({"cert": Path("a.pem")}, "--key"), ({"max_calls": 0}, "--max-calls"),
    ],
)  # fmt: skip
def test_unsafe_or_impossible_options_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(EngineError, match=word):
        Serve(**options)  # type: ignore[arg-type]


def test_serve_starts_with_the_settings_of_its_options(drawn_portraits: Path) -> None:
    serve = Serve(model="null", port=0, portraits=drawn_portraits, pose_gain=0.5, mirror=False)  # type: ignore[call-arg]
    edit = serve._server().options.edit
    assert (edit.pose_gain, edit.mirror, edit.expression_gain) == (0.5, False, 1.0)


def test_a_mode_that_the_model_lacks_ends_serve_at_its_start() -> None:
    with pytest.raises(EngineError, match="use both"):
        command._require(EditSettings(mode=Mode.EXP), modes=(Mode.BOTH,), has_blendshapes=True)
    with pytest.raises(EngineError, match="leave jaw-gain at 1"):
        command._require(EditSettings(jaw_gain=2.0), modes=tuple(Mode), has_blendshapes=False)


def test_a_short_token_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(EngineError, match="16"):
        Serve(token="short").options()
    monkeypatch.setenv("MIMICAM_TOKEN", "from the environment")
    assert Serve().options().token == "from the environment"
    monkeypatch.delenv("MIMICAM_TOKEN")
    assert Serve().options().token != Serve().options().token
    assert Serve().options().token not in repr(Serve().options())


def test_a_certificate_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="PEM"):
        certificate.from_files(tmp_path / "a.pem", tmp_path / "b.pem")


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True),
                                           ("localhost", True), ("0.0.0.0", False), ("192.168.0.1", False),
                                           ("example.org", False)])  # fmt: skip
def test_only_this_machines_own_addresses_are_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_the_sink_shows_frames_to_a_viewer_with_its_link(run: Run) -> None:
    import aiohttp
    from aiortc import RTCSessionDescription

    sink = WebRtcSink(port=0, badge="off")
    sink.open((320, 240), 30.0)

    async def work() -> None:
        pc = await watcher_offer()
        headers = {"Authorization": f"Bearer {sink.url.partition('#')[2]}", "Content-Type": "application/sdp"}
        server = sink.url.partition("/view")[0]
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{server}/offer") as response:
                assert response.status in (401, 404)
            async with http.post(f"{server}/whep", data=pc.localDescription.sdp, headers=headers) as response:
                assert response.status == 201
                await pc.setRemoteDescription(RTCSessionDescription(sdp=await response.text(), type="answer"))
        image = np.full((240, 320, 3), 128, np.uint8)
        timecode.paint(image, 1234)
        sink.write(Frame(image=image, seq=0, captured_ns=1_000_000_000))
        frame = await pc.getTransceivers()[0].receiver.track.recv()
        assert timecode.read(frame.to_ndarray(format="rgb24")) == 1234
        await pc.close()

    try:
        run(work())
        with pytest.raises(EngineError, match="even"):
            WebRtcSink(port=0).open((321, 240), 30.0)
    finally:
        sink.close()


def test_a_taken_port_is_an_error_with_its_remedy() -> None:
    first = WebRtcSink(port=0)
    first.open((64, 64), 30.0)
    try:
        taken = int(first.url.split(":")[2].split("/")[0])
        with pytest.raises(EngineError, match="--port"):
            WebRtcSink(port=taken).open((64, 64), 30.0)
    finally:
        first.close()
