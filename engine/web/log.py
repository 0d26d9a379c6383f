"""Log lines of ``key=value`` pairs. They contain no personal data."""

from __future__ import annotations

import logging
import time

_QUIET = ("aiortc", "aioice", "aiohttp.server")
"""Libraries whose info messages contain addresses or parts of requests."""


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
    """Remove requests from records. aiohttp quotes those that it cannot parse, token included."""
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__ == "aiohttp.http_exceptions":
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "event=bad_request error=%s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


def to_stderr() -> None:
    """Write this process's log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    logging.getLogger("aiohttp.server").addFilter(without_request)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
