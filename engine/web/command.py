"""``mimicam serve``: the studio."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.process_switches import switch_threads_often
from mimicam.engine.web import log
from mimicam.engine.web.options import LOOPBACK_NAMES, Limits, Options, calls_for, is_loopback

if TYPE_CHECKING:
    import ssl

    from mimicam.engine.models.dpe.gpu.batch import SharedModel
    from mimicam.engine.web.rooms import Room
    from mimicam.engine.web.server import Server

_TOKEN_VARIABLE = "MIMICAM_TOKEN"
_MIN_TOKEN = 16
_NULL = "null"


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Open the studio: a page on which a browser's camera drives a portrait."""

    host: str = "127.0.0.1"
    """Address to listen on. Another than this machine's own needs --self-signed, or --cert and --key."""
    port: int = 8443
    """0 takes a free one."""
    portraits: Path | None = None
    """Folder with pictures to offer besides the bundled ones."""
    model: str = "compact"
    """``compact``, or a folder that ``bundle`` wrote. ``null`` gives the driver's picture back, to test transport."""
    backend: BackendName = "auto"
    """What runs the model; ``auto`` takes the best that this machine has."""
    threads: int | None = None
    """Threads of each call's model; by default all cores but one, which connections and the browser need."""
    max_calls: int | None = None
    """Cameras at a time; by default as many as the cores can serve."""
    batch_ms: float = 4.0
    """On a GPU, calls whose frames come within this time are drawn as one batch (published models); 0 draws each alone."""
    max_viewers: int = 16
    """Result-only viewers at a time (OBS, WHEP)."""
    token: str | None = None
    """Word that opens the page; by default $MIMICAM_TOKEN, else a new one each start. Keep it, and links last."""
    cert: Path | None = None
    """TLS certificate, PEM."""
    key: Path | None = None
    """Its private key, PEM."""
    self_signed: bool = False
    """Make a TLS certificate for this start; browsers warn of it once."""
    allow_host: tuple[str, ...] = ()
    """More names under which browsers reach this server, for instance behind a proxy."""
    drain_s: float = 5.0
    """How long calls may go on after SIGTERM."""
    browser: bool = True
    """Open the page."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise EngineError(f"--port must lie in 0..65535, got {self.port}")
        if (self.max_calls is not None and self.max_calls < 1) or self.max_viewers < 0:
            raise EngineError("--max-calls must be at least 1 and --max-viewers at least 0")
        if not 0 <= self.batch_ms <= 33:
            raise EngineError(f"--batch-ms must lie in 0..33, got {self.batch_ms:g}")
        if (self.cert is None) != (self.key is None):
            raise EngineError("--cert and --key belong together: give both")
        if not is_loopback(self.host) and not self._has_tls:
            raise EngineError(
                f"other machines reach {self.host}: cameras need TLS there; add --self-signed, or --cert and --key"
            )

    @property
    def _has_tls(self) -> bool:
        return self.self_signed or self.cert is not None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            EngineError: the webrtc extra is missing, the model does not load, or the address cannot be used.
        """
        require_webrtc()
        log.to_stderr()
        switch_threads_often()
        self._server().run()

    def options(self) -> Options:
        """For the server.

        Raises:
            EngineError: the token is too short.
        """
        names = LOOPBACK_NAMES if is_loopback(self.host) else LOOPBACK_NAMES | _own_names(self.host)
        given = self.token or os.environ.get(_TOKEN_VARIABLE)
        if given is not None and len(given) < _MIN_TOKEN:
            raise EngineError(f"the token has {len(given)} characters: give at least {_MIN_TOKEN}")
        options = {} if given is None else {"token": given}
        return Options(
            host=self.host, port=self.port, names=names | frozenset(name.lower() for name in self.allow_host),
            secure=self._has_tls, drain_s=self.drain_s,
            limits=Limits(calls=self.max_calls or calls_for(usable_cores()), viewers=self.max_viewers), **options,
        )  # fmt: skip

    def _server(self) -> Server:
        from mimicam.engine.web.book import PortraitBook
        from mimicam.engine.web.server import Server

        options = self.options()
        room = self._room(options.limits.calls)
        book = PortraitBook(room, folder=self.portraits, uploads=options.limits.uploads_kept)
        book.portrait(book.default)  # the first call begins at once
        return Server(options, room, book, tls=self._tls(options), on_ready=self._say_ready)

    def _room(self, calls: int) -> Room:
        from mimicam.engine.web.rooms import ModelRoom, NullRoom

        if self.model == _NULL:
            return NullRoom()
        return ModelRoom(self.model, self.backend, threads=self.threads, shared=self._shared(calls))

    def _shared(self, calls: int) -> SharedModel | None:
        """The model that all calls share on a GPU; None: each has its own."""
        from mimicam.engine.models.load import open_shared

        if calls == 1 or not self.batch_ms:
            return None
        return open_shared(self.model, self.backend, slots=calls, wait_s=self.batch_ms / 1000)

    def _tls(self, options: Options) -> ssl.SSLContext | None:
        from mimicam.engine.web import certificate

        if self.cert is not None and self.key is not None:
            return certificate.from_files(self.cert, self.key)
        if not self.self_signed:
            return None
        context, fingerprint = certificate.self_signed(options.names)
        print(f"certificate SHA-256 {fingerprint}", flush=True)
        return context

    def _say_ready(self, server: Server) -> None:
        limits = server.options.limits
        print(
            f"up to {limits.calls} cameras and {limits.viewers} viewers at once (--max-calls, --max-viewers)"
        )
        link = f"{server.url}/?token={server.options.token}"
        print(link, flush=True)  # a line of its own: programs read it
        if self.browser and _has_screen():
            # Not the link itself: every user reads command lines, and browsers keep what they are started with.
            address = server.one_time_url()
            # On a thread: some browsers only come back when they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()


def _has_screen() -> bool:
    """Whether there is one to open a page on; without, a browser for the terminal would take that over."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def require_webrtc() -> None:
    """Make sure that the extra is installed.

    Raises:
        EngineError: it is not.
    """
    missing = [
        name for name in ("aiohttp", "aiortc", "cryptography") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise EngineError(f"the studio needs {', '.join(missing)}: pip install 'mimicam[webrtc]'")


def _own_names(host: str) -> frozenset[str]:
    """Names of this machine for certificates and Host checks; all addresses when it listens on every one."""
    names = {host, socket.gethostname().lower()}
    if host in ("0.0.0.0", "::"):
        names |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
        names.discard(host)
    return frozenset(names)
