"""Runs the application until it is stopped, on the main thread or on one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.concurrency.threads import Worker, start_pool
from mimicam.engine.errors import EngineError
from mimicam.engine.web.app import CODES, STUDIO, make_app
from mimicam.engine.web.auth import OneTimeCodes
from mimicam.engine.web.options import Options
from mimicam.engine.web.pipeline_pool import FramePathPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.studio import Studio

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 10.0
_MAX_ENCODERS = 32
"""Largest number of threads that encode. It is that of asyncio's own pool, as are four more than cores."""
_LINGER_S = 1.0
"""Seconds for which the rest of a refused upload is read, so that its sender gets the answer."""


class Server:
    """One listening application. `serve` runs in an event loop, `start` and `stop` use a thread."""

    def __init__(
        self,
        options: Options,
        pool: FramePathPool | None,
        library: PortraitLibrary | None,
        *,
        tls: ssl.SSLContext | None = None,
        on_ready: Callable[[Server], None] = lambda _: None,
    ) -> None:
        """Prepare the server. It does not listen yet.

        Args:
            options: with port 0 a free one is taken, which `options` then contains.
            pool: lends pipelines. None: the server only shows results of a program.
            library: the portraits. None where ``pool`` is.
            tls: context for HTTPS.
            on_ready: called on the event loop once requests are accepted.
        """
        self.options, self._pool, self._library, self._tls = options, pool, library, tls
        self._on_ready = on_ready
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._worker: Worker | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.studio: Studio | None = None
        self._codes: OneTimeCodes | None = None

    @property
    def url(self) -> str:
        """Address of the page, without token."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{'https' if self.options.secure else 'http'}://{host}:{self.options.port}"

    def one_time_url(self) -> str:
        """Address that opens the page once, within a minute. Requires a started server."""
        assert self._codes is not None, "a server that accepts requests has codes"
        return f"{self.url}/?code={self._codes.make()}"

    async def serve(self) -> None:
        """Listen until `ask_to_stop`, then drain.

        Raises:
            EngineError: the address cannot be used.
        """
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # aiortc encodes in it. The loop shuts it down.
        self.loop.set_default_executor(start_pool(min(usable_cores() + 4, _MAX_ENCODERS), "asyncio"))
        listener = self._listener()
        self.options = replace(self.options, port=listener.getsockname()[1])
        app = make_app(self.options, self._pool, self._library)
        # No access log, since its lines would contain the token. Lingering: see `_LINGER_S`.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, lingering_time=_LINGER_S)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, ssl_context=self._tls).start()
            self.studio, self._codes = app[STUDIO], app[CODES]
            self._on_ready(self)
            self._ready.set()
            await self._stop.wait()
            await self.studio.drain()
        finally:
            await runner.cleanup()

    def ask_to_stop(self) -> None:
        """Drain and stop, from any thread. The second request ends the draining."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so the server has stopped
                self.loop.call_soon_threadsafe(self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        assert self._stop is not None, "a running loop has one"
        if self._stop.is_set() and self.studio is not None:
            self.studio.hurry()
        self._stop.set()

    def run(self) -> None:
        """Serve on this thread until SIGTERM, SIGHUP (a closed terminal) or Ctrl-C."""
        asyncio.run(self._until_signal())

    def start(self) -> None:
        """Serve on a thread. Returns once requests are accepted.

        Raises:
            EngineError: the address cannot be used.
        """
        self._worker = Worker("webrtc", lambda: asyncio.run(self.serve()), on_end=self._ready.set)
        self._worker.start()
        if not self._ready.wait(_START_LIMIT_S):
            raise EngineError("the web server did not start in time: try again")
        self._worker.raise_error()

    def on_loop(self, work: Callable[[], None]) -> None:
        """Run a function on the event loop of a started server, and wait for it."""

        async def there() -> None:
            work()

        assert self.loop is not None, "started servers have one"
        asyncio.run_coroutine_threadsafe(there(), self.loop).result(_STOP_LIMIT_S)

    def stop(self) -> None:
        """Stop the server, and join the thread of `start`."""
        self.ask_to_stop()
        if self._worker is not None:
            self._worker.join(_STOP_LIMIT_S + self.options.drain_s)

    async def _until_signal(self) -> None:
        loop = asyncio.get_running_loop()
        for number in filter(None, (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", None))):
            if number not in (signal.SIGTERM, signal.SIGINT) and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started by nohup
            try:
                loop.add_signal_handler(number, self.ask_to_stop)
            except NotImplementedError:  # Windows, where the handler runs between bytecodes
                signal.signal(number, lambda *_: self.ask_to_stop())
        await self.serve()

    def _listener(self) -> socket.socket:
        host, port = self.options.host, self.options.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        # Not on Windows, where SO_REUSEADDR would share the port.
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise EngineError(f"{host} port {port} {reason}: choose another with --port or --host") from error
        listener.listen(128)
        listener.setblocking(False)
        return listener
