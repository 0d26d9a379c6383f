"""Authorises requests: Host, Origin, token and rate limits. Adds security headers to answers."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from mimicam.engine.web.options import Options
from mimicam.engine.web.rate_limit import RateLimit
from mimicam.engine.web.view_keys import Right

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PUBLIC = frozenset({"/", "/view", "/healthz", "/openapi.json", "/schema.json", "/whep"})
"""Paths without a token check. The page shows a login form, and WHEP has view keys."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(), geolocation=(), payment=(), usb=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "mimicam",  # aiohttp's would name versions
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class OneTimeCodes:
    """Codes that open the page once, within a minute.

    A browser is started with a code, not with the token: other users can read its command line,
    and its history keeps the address.
    """

    LIFE_S = 60.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ends_s: dict[str, float] = {}

    def make(self) -> str:
        """Return a new code."""
        code = secrets.token_urlsafe(24)
        self._ends_s[code] = self._now() + self.LIFE_S
        return code

    def take(self, code: str) -> bool:
        """Use a code up. Returns whether it was valid."""
        # Popped before it is compared, so that no code works twice.
        return self._now() < self._ends_s.pop(code, -math.inf)


class HttpRefusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """A request that ends with a status and a JSON body ``{"error", "message"}``."""

    def __init__(self, status: int, code: str, message: str, *, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_s = status, code, message, retry_s

    def response(self) -> web.Response:
        """Convert it to an HTTP response."""
        headers = {} if self.retry_s is None else {"Retry-After": str(int(self.retry_s) + 1)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="mimicam"'
        body = {"error": self.code, "message": self.message}
        return web.json_response(body, status=self.status, headers=headers)


class Auth:
    """Checks each request before its handler. `middleware` is for aiohttp."""

    def __init__(self, options: Options) -> None:
        self.codes = OneTimeCodes()
        self._options = options
        self._failures = RateLimit(options.limits.failures_per_minute)
        self._offers = RateLimit(options.limits.offers_per_minute)
        # Derived: a cookie that leaks does not reveal the token, and stays valid when the
        # server restarts with it.
        self._cookie_value = hmac.new(options.token.encode(), b"cookie", hashlib.sha256).hexdigest()

    @property
    def cookie_name(self) -> str:
        """Name of the cookie, with the port, since browsers share cookies between ports."""
        return f"mimicam_{self._options.port}"

    def sign_in(self, response: web.StreamResponse) -> None:
        """Set the cookie with which the browser returns without the token in its address."""
        response.set_cookie(
            self.cookie_name, self._cookie_value,
            httponly=True, samesite="Strict", secure=self._options.secure, path="/",
        )  # fmt: skip

    def authorised(self, request: web.Request) -> bool:
        """Whether the request carries the token or the cookie made from it.

        Raises:
            HttpRefusal: 429, the token is wrong, and so were too many others from this address.
        """
        given = self._given(request)
        if given is None or self._by_cookie(request):
            return self._by_cookie(request)
        # In constant time: its duration must not reveal a prefix of the token. Before the failures
        # are counted: wrong tokens of another program on this machine must not lock the owner out.
        if hmac.compare_digest(_octets(given), _octets(self._options.token)):
            return True
        if (wait_s := self._failures.take(request.remote or "")) > 0:
            raise HttpRefusal(429, "rate", "too many wrong tokens: wait a moment", retry_s=wait_s)
        return False

    def limit_offers(self, request: web.Request, right: Right) -> None:
        """Count one new connection of the request's address. The request is authorised already.

        Each right has a count of its own, so that a viewer cannot use up the driver's connections.

        Raises:
            HttpRefusal: 429.
        """
        if (wait_s := self._offers.take(f"{right} {request.remote or ''}")) > 0:
            raise HttpRefusal(429, "rate", "too many connections: wait a moment", retry_s=wait_s)

    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the request, call its handler, and add headers to the answer."""
        try:
            self._check(request)
            response = await handler(request)
        except HttpRefusal as refusal:
            response = refusal.response()
        except web.HTTPException as plain:
            response = HttpRefusal(
                plain.status, plain.reason.lower().replace(" ", "_"), plain.reason
            ).response()
            if "Allow" in plain.headers:
                response.headers["Allow"] = plain.headers["Allow"]
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _check(self, request: web.Request) -> None:
        # Against DNS rebinding: another site's name may be pointed at this address.
        if _host_name(request.host) not in self._options.names:
            raise HttpRefusal(421, "host", "this server has another name: see --allow-host")
        origin = request.headers.get("Origin")
        if (origin is not None and not self._own_origin(request, origin)) or _is_embedded(request):
            raise HttpRefusal(403, "origin", "requests from other sites are refused")
        if request.path in _PUBLIC or request.path.startswith(("/static/", "/whep/")):
            return
        if not self.authorised(request):
            raise HttpRefusal(
                401, "token", "the token is missing or wrong: open the link that the server printed"
            )

    def _own_origin(self, request: web.Request, origin: str) -> bool:
        scheme = "https" if self._options.secure else "http"
        return origin.lower() == f"{scheme}://{request.host}".lower()

    def _by_cookie(self, request: web.Request) -> bool:
        """Whether the cookie authorises the request.

        Browsers add cookies to requests of other sites, too. Requests that change something also
        need an Origin, which was checked.
        """
        value = request.cookies.get(self.cookie_name, "")
        if not hmac.compare_digest(_octets(value), _octets(self._cookie_value)):
            return False
        return request.method in ("GET", "HEAD") or "Origin" in request.headers

    @staticmethod
    def _given(request: web.Request) -> str | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value.strip()
        return request.query.get("token")


def _octets(text: str) -> bytes:
    """Encode what a request gives, also where its bytes were not UTF-8."""
    return text.encode(errors="surrogateescape")


def _is_embedded(request: web.Request) -> bool:
    """Whether a page of another site embeds the address, as a picture for instance.

    Such requests carry no Origin. They could use up the wrong tokens that this browser's address
    may try. Links from other sites are allowed. See W3C, Fetch Metadata.
    """
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    return request.headers.get("Sec-Fetch-Dest") != "document" or request.method != "GET"


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets. Empty: it cannot be parsed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
