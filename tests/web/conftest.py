"""A studio with drawn portraits and the null model, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("aiortc", reason="the webrtc extra is not installed")
pytest.importorskip("aiohttp", reason="the webrtc extra is not installed")

import aiohttp

from mimicam.engine.web.options import Options
from mimicam.engine.web.pipeline_pool import EchoPool, FramePathPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.server import Server
from mimicam.engine.web.studio import Studio

TOKEN = "a token that only tests know"
OPTIONS = Options(port=0, token=TOKEN, drain_s=0.2)


@pytest.fixture(scope="session")
def drawn_portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two pictures of one colour each."""
    folder = tmp_path_factory.mktemp("portraits")
    for name, colour in (("Green one", (0, 160, 0)), ("Blue one", (160, 0, 0))):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((96, 96, 3), colour, np.uint8))
    return folder


class Hidden(EchoPool):
    """The null model, with results that viewers may see."""

    shows_driver = False


@dataclass(frozen=True, kw_only=True)
class Live:
    """A running server and a client that has the token."""

    server: Server
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def studio(self) -> Studio:
        assert self.server.studio is not None
        return self.server.studio


@asynccontextmanager
async def studio_running(
    folder: Path, *, pool: FramePathPool | None = None, options: Options = OPTIONS
) -> AsyncIterator[Live]:
    """Run a server on this event loop, and stop it at the end."""
    pool = pool or EchoPool()
    ready = asyncio.Event()
    library = PortraitLibrary(pool, folder=folder, uploads=options.limits.uploads_kept)
    server = Server(options, pool, library, on_ready=lambda _: ready.set())
    task = asyncio.ensure_future(server.serve())
    await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    headers = {"Authorization": f"Bearer {options.token}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as http:
            yield Live(server=server, http=http)
    finally:
        server.ask_to_stop()
        await task


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run() -> Run:
    """Run a coroutine to its end, at most a minute."""

    def runner(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(work, 60.0))

    return runner


def with_limits(**limits: Any) -> Options:
    """The options with some limits changed."""
    return replace(OPTIONS, limits=replace(OPTIONS.limits, **limits))
