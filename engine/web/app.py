"""Defines the HTTP routes and their answers, as ``openapi.json`` describes them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from aiohttp import web

from mimicam.engine.errors import EngineError
from mimicam.engine.web import aiortc_patches, pictures, request_body
from mimicam.engine.web.auth import Auth, Handler, HttpRefusal, OneTimeCodes
from mimicam.engine.web.files import PageFiles
from mimicam.engine.web.metrics import CONTENT_TYPE, Metrics
from mimicam.engine.web.options import Options
from mimicam.engine.web.page import studio_page
from mimicam.engine.web.peer import OfferError
from mimicam.engine.web.pipeline_pool import FramePathPool
from mimicam.engine.web.portrait_library import Entry, PortraitLibrary
from mimicam.engine.web.preset_routes import PresetRoutes
from mimicam.engine.web.protocol import SCHEMA, STATIC, from_query, openapi
from mimicam.engine.web.settings import MessageError
from mimicam.engine.web.studio import (
    CallSuperseded,
    Draining,
    StartedCall,
    Studio,
    TooManyCalls,
    TooManyViewers,
)

_SDP = "application/sdp"
_IMAGES = (
    *(f"image/{kind}" for kind in "jpeg png webp avif heic heif gif tiff bmp".split()),
    "application/octet-stream",
)
_MAX_TITLE = 40
_UPLOADS_IN_MEMORY = 8
"""Uploads of the largest size that may be in memory at a time."""
_log = logging.getLogger(__name__)
STUDIO: web.AppKey[Studio] = web.AppKey("studio", Studio)
CODES: web.AppKey[OneTimeCodes] = web.AppKey("codes", OneTimeCodes)


def make_app(
    options: Options, pool: FramePathPool | None, library: PortraitLibrary | None
) -> web.Application:
    """Build the application. Its studio is under the key `STUDIO`.

    Without a portrait library there are no camera routes, only those of viewers.
    """
    aiortc_patches.install()
    auth, handlers = Auth(options), Handlers(options, pool, library)

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await auth.middleware(request, handler)
        resource = request.match_info.route.resource
        # By route, not by path, or a scanner would add a series for each address that it tries.
        handlers.metrics.requests[(resource.canonical if resource else "other", response.status)] += 1
        return response

    # The limit of aiohttp itself, behind those of the single routes.
    app = web.Application(middlewares=[counted], client_max_size=options.limits.upload_bytes)
    app.on_startup.append(handlers.start)
    app.on_cleanup.append(handlers.stop)
    handlers.auth = auth
    app[CODES] = auth.codes
    app.add_routes(handlers.routes())
    app.router.add_get("/static/{name}", PageFiles().serve)
    return app


class Handlers:
    """Handles requests, with one method per route."""

    auth: Auth

    def __init__(self, options: Options, pool: FramePathPool | None, library: PortraitLibrary | None) -> None:
        self._options, self._limits, self._pool, self._library = options, options.limits, pool, library
        self.metrics = Metrics()
        self._studio: Studio | None = None
        # As many as threads enrol; more would only wait in memory.
        self._uploading = asyncio.Semaphore(2)
        self._room = request_body.Room(_UPLOADS_IN_MEMORY * self._limits.upload_bytes)

    def routes(self) -> list[web.RouteDef]:
        """List the routes, those of a camera only where there are portraits."""
        always = [
            web.get("/", self.page), web.get("/view", self.view_page),
            web.get("/healthz", self.health), web.get("/metrics", self.show_metrics),
            web.get("/openapi.json", self.openapi), web.get("/schema.json", self.schema),
            web.post("/whep", self.whep), web.delete("/whep/{viewer}", self.whep_end),
            web.options("/whep", self.describe_sdp),
        ]  # fmt: skip
        with_camera = [
            web.get("/portraits", self.portraits), web.post("/portraits", self.upload),
            web.get("/portraits/{portrait}", self.thumbnail), web.delete("/portraits/{portrait}", self.forget),
            web.post("/offer", self.offer), web.post("/whip", self.whip),
            web.delete("/whip/{call}", self.whip_end), web.options("/whip", self.describe_sdp),
        ]  # fmt: skip
        if self._library is None or self._pool is None:
            return always
        return [*always, *with_camera, *PresetRoutes(self._pool.presets, lambda: self.studio.calls).routes()]

    async def start(self, app: web.Application) -> None:
        """Create the studio, once the event loop runs."""
        self._studio = app[STUDIO] = Studio(self._options, self._pool, self._library)

    async def stop(self, _: web.Application) -> None:
        """Close the studio when the server ends."""
        await self.studio.close()

    @property
    def studio(self) -> Studio:
        """The studio of a started application."""
        assert self._studio is not None, "handlers run only after start"
        return self._studio

    @property
    def library(self) -> PortraitLibrary:
        """The portrait library, which camera routes require."""
        assert self._library is not None, "these routes exist only with a library"
        return self._library

    async def page(self, request: web.Request) -> web.StreamResponse:
        """``GET /``: the page, or a form for the token."""
        try:
            if not (self._by_code(request) or self.auth.authorised(request)):
                return _login(_login_words(request))
        except HttpRefusal as refusal:  # too many wrong tokens: a person reads this, so no JSON
            return _login("Too many wrong tokens were tried. Wait a moment, then try again.", refusal)
        response = _html("view.html") if self._library is None else self._page()
        self.auth.sign_in(response)
        return response

    def _by_code(self, request: web.Request) -> bool:
        return "code" in request.query and self.auth.codes.take(request.query["code"])

    async def view_page(self, _: web.Request) -> web.StreamResponse:
        """``GET /view``: the result alone. Public, since the key is in the link's fragment."""
        return _html("view.html")

    async def health(self, _: web.Request) -> web.Response:
        """``GET /healthz``: whether new calls are accepted."""
        state = "draining" if self.studio.draining else "ok"
        return web.json_response({"status": state}, status=503 if self.studio.draining else 200)

    async def show_metrics(self, _: web.Request) -> web.Response:
        """``GET /metrics``: counters for Prometheus."""
        text = self.metrics.render(self.studio)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        """``GET /openapi.json``: description of these routes."""
        return web.json_response(openapi())

    async def schema(self, _: web.Request) -> web.Response:
        """``GET /schema.json``: messages of the data channel."""
        return web.json_response(SCHEMA)

    async def portraits(self, _: web.Request) -> web.Response:
        """``GET /portraits``: those that every page may show."""
        shared = [_described(entry) for entry in self.library.shared()]
        return web.json_response({"portraits": shared, "default": self.library.default})

    async def upload(self, request: web.Request) -> web.Response:
        """``POST /portraits``: enrol the picture in the body."""
        if request.content_type not in _IMAGES:
            raise HttpRefusal(
                415, "type", "send a picture, such as JPEG, PNG, WebP, HEIC or AVIF, as the body"
            )
        title = request.query.get("title", "").strip() or "My picture"
        if len(title) > _MAX_TITLE:
            raise HttpRefusal(400, "title", f"a title may have {_MAX_TITLE} characters")
        # Counted while it is read: the stated length may be wrong or missing.
        with self._room.share() as take:
            # Read first: a body that trickles in must not hold the place of another.
            data = await request_body.read(
                request, limit=self._limits.upload_bytes, seconds=self._limits.upload_s, take=take
            )
            async with self._uploading:
                # On a thread of the pool: enrolling takes a second, during which calls go on.
                entry = await self._in_thread(self._enrolled, data, title)
        return web.json_response(
            _described(entry), status=201, headers={"Location": f"/portraits/{quote(entry.id)}"}
        )

    async def thumbnail(self, request: web.Request) -> web.Response:
        """``GET /portraits/{portrait}``: a small JPEG."""
        name = self._known(request)
        try:
            jpeg = await self._in_thread(self.library.thumbnail, name)
        except EngineError as error:
            raise HttpRefusal(404, "portrait", str(error)) from error
        return web.Response(
            body=jpeg, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"}
        )

    async def forget(self, request: web.Request) -> web.Response:
        """``DELETE /portraits/{portrait}``: remove an upload."""
        if not self.library.remove(self._known(request)):
            raise HttpRefusal(403, "portrait", "only uploaded portraits can be removed")
        return web.Response(status=204)

    async def offer(self, request: web.Request) -> web.Response:
        """``POST /offer``: start a call, camera in and result out."""
        self.auth.limit_offers(request, "own")
        body = await request_body.read_json(
            request, limit=self._limits.sdp_bytes, seconds=self._limits.upload_s
        )
        sdp, kind, own = body.get("sdp"), body.get("type"), body.get("own")
        if not isinstance(sdp, str) or kind != "offer":
            raise HttpRefusal(400, "offer", "give 'sdp' (text) and 'type' ('offer')")
        if not isinstance(own, str | None) or not isinstance(body.get("settings", {}), dict):
            raise HttpRefusal(400, "offer", "'own' must be text and 'settings' an object")
        started = await self._start(sdp, own=own, settings=body.get("settings"))
        return web.json_response(
            {"sdp": started.sdp, "type": "answer", "own": started.own, "view": started.view}
        )

    async def whip(self, request: web.Request) -> web.Response:
        """``POST /whip`` (RFC 9725): start a call whose result goes to viewers only."""
        self.auth.limit_offers(request, "own")
        sdp = await request_body.read_sdp(
            request, limit=self._limits.sdp_bytes, seconds=self._limits.upload_s
        )
        started = await self._start(sdp, settings=_settings_in(request), sends=False)
        headers = {"Location": f"/whip/{quote(started.own)}", "X-Mimicam-View": f"/view#{started.view}"}
        return web.Response(status=201, text=started.sdp, content_type=_SDP, headers=headers)

    async def whip_end(self, request: web.Request) -> web.Response:
        """``DELETE /whip/{call}``: hang up."""
        if not await self.studio.stop_call(request.match_info["call"]):
            raise HttpRefusal(404, "call", "there is no such call")
        return web.Response(status=200)

    async def whep(self, request: web.Request) -> web.Response:
        """``POST /whep``: watch the result of a view key.

        With the token and no view key, the newest result of WHIP or of a program.
        """
        view = self._view_key(request)
        # Before the offer is counted and read: no viewer may ever see the driver's own picture.
        if self.studio.shows_driver:
            raise HttpRefusal(
                403, "null", "the null model returns the driver's own picture, which only the driver may see"
            )
        self.auth.limit_offers(request, "own" if view is None else "view")
        sdp = await request_body.read_sdp(
            request, limit=self._limits.sdp_bytes, seconds=self._limits.upload_s
        )
        try:
            name, answer = await self.studio.watch(sdp, view)
        except KeyError as error:
            raise _no_result() from error
        except TooManyViewers as error:
            raise _full(
                f"all {self._limits.viewers} viewers' places are taken: close a viewer and try again"
            ) from error
        except Draining as error:
            raise _draining() from error
        except OfferError as error:
            raise HttpRefusal(400, "offer", str(error)) from error
        headers = {"Location": f"/whep/{quote(name)}"}
        return web.Response(status=201, text=answer, content_type=_SDP, headers=headers)

    async def whep_end(self, request: web.Request) -> web.Response:
        """``DELETE /whep/{viewer}``: hang up. The viewer's id is its secret."""
        if not await self.studio.stop_viewer(request.match_info["viewer"]):
            raise HttpRefusal(404, "viewer", "there is no such viewer")
        return web.Response(status=200)

    async def describe_sdp(self, _: web.Request) -> web.Response:
        """``OPTIONS`` of WHIP and WHEP. No CORS headers, since other sites are refused."""
        return web.Response(status=204, headers={"Accept-Post": _SDP, "Allow": "OPTIONS, POST"})

    async def _start(self, sdp: str, **options: Any) -> StartedCall:
        try:
            return await self.studio.start_call(sdp, **options)
        except TooManyCalls as error:
            places = (
                "the only place is" if self._limits.calls == 1 else f"all {self._limits.calls} places are"
            )
            raise _full(f"{places} taken: wait until a call ends") from error
        except CallSuperseded as error:
            raise HttpRefusal(409, "taken", "a newer call with your key has taken this place") from error
        except Draining as error:
            raise _draining() from error
        except (OfferError, MessageError) as error:
            raise HttpRefusal(400, "offer", str(error)) from error
        except EngineError as error:
            raise HttpRefusal(422, "portrait", str(error)) from error

    def _view_key(self, request: web.Request) -> str | None:
        """The view key of a request. None: it carries the token instead.

        Raises:
            HttpRefusal: it carries neither.
        """
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        # WHEP players send the key as a bearer token.
        if scheme.lower() == "bearer" and self.studio.is_view_key(bearer.strip()):
            return bearer.strip()
        if "view" in request.query:
            if not self.studio.is_view_key(request.query["view"]):
                raise _no_result()
            return request.query["view"]
        if not self.auth.authorised(request):
            raise HttpRefusal(401, "token", "give the token, or the view key of a result")
        return None

    def _enrolled(self, data: bytes, title: str) -> Entry:
        try:
            return self.library.add(pictures.decode(data, max_pixels=self._limits.upload_pixels), title)
        except EngineError as error:
            raise HttpRefusal(422, "picture", str(error)) from error

    def _page(self) -> web.Response:
        edit, pool = self._options.edit, self._pool
        if pool is None:
            return web.Response(text=studio_page(edit), content_type="text/html")
        text = studio_page(
            edit,
            pool.presets,
            modes=pool.modes,
            has_blendshapes=pool.has_blendshapes,
            own_face=pool.edits_own_face,
        )
        return web.Response(text=text, content_type="text/html")

    def _known(self, request: web.Request) -> str:
        name = request.match_info["portrait"]
        if self.library.entry(name) is None:
            raise HttpRefusal(404, "portrait", "there is no such portrait")
        return name

    async def _in_thread(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.studio.executor, work, *args)


def _described(entry: Entry) -> dict[str, str]:
    return {"id": entry.id, "title": entry.title, "origin": entry.origin}


def _full(message: str) -> HttpRefusal:
    return HttpRefusal(503, "full", message, retry_s=10)


def _no_result() -> HttpRefusal:
    return HttpRefusal(404, "view", "there is no such result: the call has ended, or the link is wrong")


def _draining() -> HttpRefusal:
    return HttpRefusal(503, "draining", "the server is stopping: try again when it runs", retry_s=10)


def _login_words(request: web.Request) -> str:
    if "token" in request.query:
        return "That token is not the right one."
    return "This link was used before, or is older than a minute." if "code" in request.query else ""


def _login(words: str, refusal: HttpRefusal | None = None) -> web.Response:
    response = _html("login.html", status=refusal.status if refusal else 401)
    assert response.text is not None, "a page has text"
    response.text = response.text.replace("<!-- words -->", f'<p role="alert">{words}</p>' if words else "")
    if refusal is not None:
        response.headers["Retry-After"] = refusal.response().headers["Retry-After"]
    return response


def _settings_in(request: web.Request) -> dict[str, Any]:
    try:
        return from_query(request.query)
    except MessageError as error:
        raise HttpRefusal(400, "offer", str(error)) from error


def _html(name: str, status: int = 200) -> web.Response:
    text = (STATIC / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/html", status=status)
