"""Settings with which a server starts."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field

from mimicam.engine.controls import STUDIO_EDIT, EditSettings

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback(host: str) -> bool:
    """Whether the address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def calls_for(cores: int) -> int:
    """Number of cameras that a machine can serve: one per core.

    A call of 640x480 with the compact model took 0.67 of a core at 27 results a second. With other
    programs running it took 0.96 (2026-11, without the browser, which takes as much again).
    """
    return max(1, cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper limits of one server."""

    calls: int = 2
    """Cameras at a time. Each has its own model and threads; see `calls_for`."""
    viewers: int = 16
    """Result-only viewers at a time, all calls together."""
    offers_per_minute: int = 30
    """New connections from one address."""
    failures_per_minute: int = 20
    """Wrong tokens from one address before it has to wait."""
    upload_bytes: int = 20_000_000
    upload_pixels: int = 24_000_000
    upload_s: float = 30.0
    """Seconds after which an upload is aborted."""
    uploads_kept: int = 24
    """Uploaded pictures in memory. A new one replaces the oldest."""
    sdp_bytes: int = 65_536
    connect_s: float = 20.0
    """Seconds after which a connection that is not established is closed."""
    silent_s: float = 15.0
    """Seconds without a packet after which a connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All settings of one server."""

    host: str = "127.0.0.1"
    port: int = 8443
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Secret that gives access to everything, camera and uploads included."""
    names: frozenset[str] = LOOPBACK_NAMES
    """Host names a request may be addressed to."""
    secure: bool = False
    """Whether the server uses TLS."""
    limits: Limits = Limits()
    edit: EditSettings = STUDIO_EDIT
    """Initial motion settings of calls and of the page."""
    drain_s: float = 5.0
    """Seconds for which calls may continue after SIGTERM."""

    @property
    def for_this_machine_only(self) -> bool:
        """Whether only this machine can reach the server: it listens on loopback, and no proxy is
        named."""
        return is_loopback(self.host) and self.names <= LOOPBACK_NAMES
