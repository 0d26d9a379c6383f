"""Reads request bodies, with limits on size and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from mimicam.engine.web.auth import HttpRefusal


class Room:
    """Bounds the bytes of bodies in memory, all requests together."""

    def __init__(self, size: int) -> None:
        self._free = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes. They are free again at the end.

        The function raises HttpRefusal 503 when there is no room.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._free:
                raise HttpRefusal(503, "busy", "too many uploads at once: try again", retry_s=5)
            taken, self._free = taken + size, self._free - size

        try:
            yield take
        finally:
            self._free += taken


def _unbounded(_: int) -> None:
    """Take bytes of a body that is small anyway."""


async def read(
    request: web.Request, *, limit: int, seconds: float, take: Callable[[int], None] = _unbounded
) -> bytes:
    """Read the body. ``take`` is called with the size of each part; see `Room`.

    Raises:
        HttpRefusal: 413, it is too large (Content-Length is checked first). 408, it is too slow.
            400, the caller hung up, or the encoding is wrong.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        # For the whole body: a byte now and then would pass any limit between two parts.
        return await asyncio.wait_for(_limited(request, limit, take), seconds)
    except asyncio.TimeoutError as error:
        raise HttpRefusal(408, "slow", f"the upload took more than {seconds:.0f} s") from error
    except (ConnectionError, web.RequestPayloadError, HttpProcessingError) as error:
        raise HttpRefusal(400, "body", "the body broke off, or its encoding is wrong") from error


async def read_json(request: web.Request, *, limit: int, seconds: float) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        HttpRefusal: as `read`, and 415 or 400.
    """
    if request.content_type != "application/json":
        raise HttpRefusal(415, "type", "send application/json")
    try:
        value = json.loads(await read(request, limit=limit, seconds=seconds))
    except (ValueError, RecursionError) as error:
        raise HttpRefusal(400, "json", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise HttpRefusal(400, "json", "the body must be a JSON object")
    return value


async def read_sdp(request: web.Request, *, limit: int, seconds: float) -> str:
    """Read an SDP body, as WHIP and WHEP have it.

    Raises:
        HttpRefusal: as `read`, and 415 or 400.
    """
    if request.content_type != "application/sdp":
        raise HttpRefusal(415, "type", "send application/sdp")
    try:
        return (await read(request, limit=limit, seconds=seconds)).decode()
    except UnicodeDecodeError as error:
        raise HttpRefusal(400, "sdp", "the offer is not text") from error


async def _limited(request: web.Request, limit: int, take: Callable[[int], None]) -> bytes:
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        # Before it is kept, so that memory never holds more than the limit and one part.
        if size > limit:
            raise _too_large(limit)
        take(len(part))
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> HttpRefusal:
    return HttpRefusal(413, "size", f"at most {limit // 1000} kB are accepted")
