"""``mimicam serve``: the studio."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import STUDIO_EDIT, EditSettings, Mode, refusal
from mimicam.engine.errors import EngineError
from mimicam.engine.process_switches import keep_what_is_loaded, switch_threads_often
from mimicam.engine.web import log
from mimicam.engine.web.options import LOOPBACK_NAMES, Limits, Options, calls_for, is_loopback

if TYPE_CHECKING:
    import ssl

    from mimicam.engine.models.dpe.gpu.batch import SharedModel
    from mimicam.engine.web.pipeline_pool import FramePathPool
    from mimicam.engine.web.server import Server

_TOKEN_VARIABLE = "MIMICAM_TOKEN"
_MIN_TOKEN = 16
_NULL = "null"


@dataclass(frozen=True, kw_only=True)
@with_edit_options(STUDIO_EDIT)
class Serve:
    """Open the studio: a page on which a browser's camera drives a portrait."""

    host: str = "127.0.0.1"
    """Address to listen on. Addresses of the network need --self-signed, or --cert and --key."""
    port: int = 8443
    """Port to listen on. 0 takes a free one."""
    portraits: Path | None = None
    """Folder with pictures that are offered beside the bundled portraits."""
    model: str = "compact"
    """Name of a bundled model ('mimicam models list'), or the path of one. null returns the driver's
    picture, to test connections."""
    backend: BackendName = "auto"
    """Backend that runs the model. auto takes the fastest that this machine has."""
    threads: int | None = None
    """Threads of each call's model. By default one core is left to connections and the browser."""
    max_calls: int | None = None
    """Largest number of cameras at a time. By default one per core."""
    batch_ms: float = 4.0
    """Milliseconds to collect frames of several calls for a batch on a GPU (DPE). 0: none."""
    max_viewers: int = 16
    """Largest number of viewers at a time (OBS, WHEP)."""
    token: str | None = None
    """Secret that opens the page. By default $MIMICAM_TOKEN, else a new one at each start."""
    cert: Path | None = None
    """TLS certificate, a PEM file."""
    key: Path | None = None
    """Private key of the certificate, a PEM file."""
    self_signed: bool = False
    """Make a TLS certificate for this start. Browsers warn of it once."""
    allow_host: tuple[str, ...] = ()
    """Further host names of this server, for instance behind a proxy."""
    drain_s: float = 5.0
    """Seconds for which calls may continue after SIGTERM."""
    browser: bool = True
    """Open the page in a browser."""

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
                f"{self.host} is not this machine alone, so browsers need TLS for the camera: "
                "add --self-signed, or --cert and --key"
            )

    @property
    def _has_tls(self) -> bool:
        return self.self_signed or self.cert is not None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            EngineError: the webrtc extra is missing, the model does not load, or the address
                cannot be used.
        """
        require_webrtc()
        log.to_stderr()
        switch_threads_often()
        server = self._server()
        keep_what_is_loaded()
        server.run()

    def options(self) -> Options:
        """Convert to the options of the server.

        Raises:
            EngineError: the token is too short.
        """
        names = LOOPBACK_NAMES if is_loopback(self.host) else LOOPBACK_NAMES | _own_names(self.host)
        given = self.token or os.environ.get(_TOKEN_VARIABLE)
        if given is not None and len(given) < _MIN_TOKEN:
            raise EngineError(f"the token has {len(given)} characters: use at least {_MIN_TOKEN}")
        options = {} if given is None else {"token": given}
        return Options(
            host=self.host, port=self.port, names=names | frozenset(name.lower() for name in self.allow_host),
            secure=self._has_tls, drain_s=self.drain_s, edit=edit_of(self),
            limits=Limits(calls=self.max_calls or calls_for(usable_cores()), viewers=self.max_viewers), **options,
        )  # fmt: skip

    def _server(self) -> Server:
        from mimicam.engine.web.portrait_library import PortraitLibrary
        from mimicam.engine.web.server import Server

        options = self.options()
        pool = self._pool(options.limits.calls)
        _require(options.edit, modes=pool.modes, has_blendshapes=pool.has_blendshapes)
        library = PortraitLibrary(pool, folder=self.portraits, uploads=options.limits.uploads_kept)
        library.portrait(library.default)  # so that the first call starts without delay
        return Server(options, pool, library, tls=self._tls(options), on_ready=self._say_ready)

    def _pool(self, calls: int) -> FramePathPool:
        from mimicam.engine.web.pipeline_pool import EchoPool, PipelinePool

        if self.model == _NULL:
            return EchoPool()
        return PipelinePool(self.model, self.backend, threads=self.threads, shared=self._shared(calls))

    def _shared(self, calls: int) -> SharedModel | None:
        """The model that all calls share on a GPU. None: each call has its own."""
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
        print(link, flush=True)  # on a line of its own, for programs
        if self.browser and _has_screen():
            # Without the token: other users can read command lines, and browsers keep history.
            address = server.one_time_url()
            # On a thread, since the call returns only when some browsers are closed.
            threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()


def _require(edit: EditSettings, *, modes: Sequence[Mode], has_blendshapes: bool) -> None:
    """Refuse settings that the model lacks, before a call is refused for them."""
    if reason := refusal(edit, modes=modes, has_blendshapes=has_blendshapes):
        raise EngineError(f"this model {reason}")


def _has_screen() -> bool:
    """Whether a browser has a display. Without one, a browser could take over the terminal."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def require_webrtc() -> None:
    """Check that the extra ``webrtc`` is installed.

    Raises:
        EngineError: a package of it is missing.
    """
    missing = [
        name for name in ("aiohttp", "aiortc", "cryptography") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise EngineError(f"the studio needs {', '.join(missing)}: pip install 'mimicam[webrtc]'")


def _own_names(host: str) -> frozenset[str]:
    """Names of this machine for certificates and Host checks, with all its addresses if needed."""
    names = {host, socket.gethostname().lower()}
    if host in ("0.0.0.0", "::"):
        names |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
        names.discard(host)
    return frozenset(names)
