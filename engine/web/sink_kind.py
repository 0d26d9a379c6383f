"""The row of ``--sink webrtc[:PORT]``. Importing it loads nothing of the ``webrtc`` extra."""

from __future__ import annotations

import logging

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks import Sink
from mimicam.engine.sinks.registry import SINKS, WIDELY_ACCEPTED_SIZE, SinkContext, SinkKind

_PORT = 8443
_PORT_MAX = 65535


def _open(port: str, _context: SinkContext) -> Sink:
    from mimicam.engine.web import log
    from mimicam.engine.web.sink import WebRtcSink

    if port and not (port.isdecimal() and int(port) <= _PORT_MAX):
        raise EngineError(f"webrtc:{port} is no port: give a number up to {_PORT_MAX}, as webrtc:{_PORT}")
    log.to_stderr(
        logging.WARNING
    )  # without it, logging writes as often as viewers cause it, and what they sent
    sink: Sink = WebRtcSink(port=int(port or _PORT), on_url=lambda url: print(f"watch at {url}", flush=True))
    return sink


WEBRTC = SinkKind(usage="webrtc[:PORT]", open=_open, size=WIDELY_ACCEPTED_SIZE)
ALL_SINKS = (*SINKS, WEBRTC)
"""Every sink that ``--sink`` can name, in the order of help and errors."""
