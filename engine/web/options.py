"""What the server is told when it starts."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field

from mimicam.engine.controls import STUDIO_EDIT, EditSettings

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def calls_for(cores: int) -> int:
    """How many cameras at a time: one for each core.

    A call of 640x480 with the compact model took 0.67 of a core at 27 results a second, and 0.96 where other programs
    had most of the machine (2026-11, the server alone; browsers on the same machine take as much again).
    """
    return max(1, cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server gives away at most."""

    calls: int = 2
    """Cameras at a time; each has its own model and threads. `calls_for` says how many a machine serves."""
    viewers: int = 16
    """Result-only viewers at a time, all calls together."""
    offers_per_minute: int = 30
    """New connections from one address."""
    failures_per_minute: int = 20
    """Wrong tokens from one address before it has to wait."""
    upload_bytes: int = 20_000_000
    upload_pixels: int = 24_000_000
    upload_s: float = 30.0
    """An upload that is slower is cut off."""
    uploads_kept: int = 24
    """Pictures in memory; the oldest that nobody uses makes pool."""
    sdp_bytes: int = 65_536
    connect_s: float = 20.0
    """A call that is not connected by then is closed."""
    silent_s: float = 15.0
    """So is one whose peer sends nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The server's settings."""

    host: str = "127.0.0.1"
    port: int = 8443
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Opens everything; whoever has it may use the camera call and upload."""
    names: frozenset[str] = LOOPBACK_NAMES
    """Host names a request may be addressed to."""
    secure: bool = False
    """TLS."""
    limits: Limits = Limits()
    edit: EditSettings = STUDIO_EDIT
    """With which calls begin, and the page, until the person changes it."""
    drain_s: float = 5.0
    """How long running calls may go on after SIGTERM."""
