"""The log stays short whatever callers do."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from mimicam.engine.sinks.registry import SinkContext
from mimicam.engine.web.log import LINES_PER_MINUTE, KeyValueFormatter, Throttle, without_request
from mimicam.engine.web.sink_kind import WEBRTC
from tests.web.conftest import TOKEN, Run, studio_running
from tests.web.packets import Clock


def _line(text: str, *args: object, name: str = "asyncio") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, args, None)


def test_a_line_that_repeats_is_dropped_and_counted() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    written = [throttle.filter(_line(f"socket.accept() failed\n<socket {n}>")) for n in range(1000)]
    assert written == [True] * LINES_PER_MINUTE + [False] * (1000 - LINES_PER_MINUTE)
    assert throttle.filter(_line("another line")), "others are still written"
    assert throttle.filter(_line("socket.accept() failed", name="other"))
    clock.s += 60.0
    late = _line("socket.accept() failed")
    assert throttle.filter(late)
    assert late.getMessage() == f"socket.accept() failed dropped={1000 - LINES_PER_MINUTE}"


def test_a_dropped_line_keeps_its_values() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for n in range(LINES_PER_MINUTE + 5):
        throttle.filter(_line("event=x n=%d", n))
    clock.s += 60.0
    late = _line("event=x n=%d", 7)
    assert throttle.filter(late)
    assert late.getMessage() == "event=x n=7 dropped=5"


@pytest.mark.parametrize(
    "error", [ContentEncodingError("gzip"), web.RequestPayloadError("400"), ConnectionResetError("lost")]
)
def test_errors_of_callers_are_one_line_without_a_traceback(error: Exception) -> None:
    record = _line("Unhandled exception", name="aiohttp.server")
    record.exc_info = (type(error), error, None)
    assert without_request(record)
    line = KeyValueFormatter().format(record)
    assert line.endswith(f"level=info logger=aiohttp.server event=bad_request error={type(error).__name__}")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 1000", "abc"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n"),
        ("Content-Length: 3\r\nContent-Encoding: gzip", "abc"),
    ],
)
def test_a_body_that_breaks_off_leaves_no_traceback(
    run: Run, drawn_portraits: Path, caplog: pytest.LogCaptureFixture, headers: str, body: str
) -> None:
    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            for path, kind in (("/portraits", "image/png"), ("/offer", "application/json")):
                _, writer = await asyncio.open_connection("127.0.0.1", live.server.options.port)
                head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                writer.write(f"{head}Content-Type: {kind}\r\n{headers}\r\n\r\n{body}".encode())
                await writer.drain()
                # Until the answer to a later request, the handler has begun to read the body.
                async with live.http.get(f"{live.url}/healthz") as response:
                    assert response.status == 200
                writer.transport.abort()
            async with live.http.get(f"{live.url}/healthz") as response:
                assert response.status == 200

    logging.getLogger("aiohttp.server").addFilter(without_request)
    try:
        with caplog.at_level(logging.INFO):
            run(work())
    finally:
        logging.getLogger("aiohttp.server").removeFilter(without_request)
    assert not [record for record in caplog.records if record.exc_info]


def test_the_sink_of_run_writes_its_log_as_the_studio_does(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    WEBRTC.open("0", SinkContext(on_key=lambda _: None, figures=list))
    (handler,) = root.handlers
    assert isinstance(handler.formatter, KeyValueFormatter)
    assert any(isinstance(one, Throttle) for one in handler.filters)
    assert root.level == logging.WARNING, "a call that ends is no news beside a terminal's own lines"
