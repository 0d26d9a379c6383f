"""Serves the page's own files. They are read once, so no request names a path."""

from __future__ import annotations

import hashlib
import mimetypes

from aiohttp import web

from mimicam.engine.web.auth import HttpRefusal
from mimicam.engine.web.protocol import STATIC

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageFiles:
    """Serves the files of the folder ``static``."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for path in sorted(STATIC.iterdir()):
            data = path.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            self._files[path.name] = (data, kind, hashlib.sha256(data).hexdigest()[:32])

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """``GET /static/{name}``. Answers 304 where the browser has the file already.

        Raises:
            HttpRefusal: 404, there is no such file.
        """
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise HttpRefusal(404, "file", "there is no such file")
        data, kind, tag = found
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=data, content_type=kind, charset=_charset(kind), headers=headers)


def _charset(kind: str) -> str | None:
    return "utf-8" if kind.startswith("text/") or kind in ("application/json", "image/svg+xml") else None
