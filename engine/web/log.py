"""Log lines of ``key=value`` pairs. They contain no personal data."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from mimicam.engine.web.rate_limit import RateLimit

_QUIET = ("aiortc", "aioice", "aiohttp.server")
"""Libraries whose info messages contain addresses or parts of requests."""
_FAULTS_OF_CALLERS = ("aiohttp.http_exceptions", "aiohttp.web_protocol")
"""Modules whose errors report what a caller sent."""
LINES_PER_MINUTE = 30
"""Lines of one kind that are written."""


class KeyValueFormatter(logging.Formatter):
    """Formats lines such as ``time=2026-11-21T15:00:00.000Z level=info logger=... event=...``.

    Messages of libraries do not start with ``event=``. They become the value of ``message``.
    """

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """The record's time in UTC, ISO 8601."""
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's names
        """The line, without a traceback."""
        text = record.message if record.message.startswith("event=") else f"message={_quoted(record.message)}"
        return f"time={record.asctime} level={record.levelname.lower()} logger={record.name} {text}"

    def usesTime(self) -> bool:  # noqa: N802 - logging's names
        """Whether lines have a time: always."""
        return True


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def without_request(record: logging.LogRecord) -> bool:
    """Reduce errors of callers to one line. aiohttp quotes requests in them, token included."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConnectionError) or type(error).__module__ in _FAULTS_OF_CALLERS:
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "event=bad_request error=%s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


class Throttle(logging.Filter):
    """Drops lines that repeat too often, since callers could fill the disk with them.

    The next line of that kind states how many were dropped.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._rate = RateLimit(LINES_PER_MINUTE, now)
        self._dropped: Counter[tuple[str, int, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        # The first line of the text before its values are filled in: asyncio appends objects to it.
        kind = (record.name, record.levelno, str(record.msg).partition("\n")[0])
        if self._rate.take(kind) > 0:
            self._dropped[kind] += 1
            return False
        if (dropped := self._dropped.pop(kind, 0)) > 0:
            record.msg = f"{record.msg} dropped={dropped}"
        return True


def to_stderr(level: int = logging.INFO) -> None:
    """Write this process's log to stderr, from a level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(Throttle())
    logging.getLogger("aiohttp.server").addFilter(without_request)
    logging.basicConfig(level=level, handlers=[handler])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
