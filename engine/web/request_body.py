"""Reads request bodies, with limits on size and time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from mimicam.engine.web.auth import HttpRefusal


async def read(request: web.Request, *, limit: int, seconds: float) -> bytes:
    """Read the body.

    Raises:
        HttpRefusal: 413, it is too large (Content-Length is checked first). 408, it is too slow.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        return await asyncio.wait_for(_limited(request, limit), seconds)
    except asyncio.TimeoutError as error:
        raise HttpRefusal(408, "slow", f"the upload took more than {seconds:.0f} s") from error


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


async def _limited(request: web.Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> HttpRefusal:
    return HttpRefusal(413, "size", f"at most {limit // 1000} kB are accepted")
