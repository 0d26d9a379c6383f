"""Read all datagrams that wait in a socket in one turn of the event loop.

asyncio gives aioice one datagram in each turn of the event loop. Where threads compute, each turn
waits for the interpreter's lock. On an overloaded machine turns become rarer than packets, and the
kernel's buffer turns into seconds of delay. Here the protocol reads the others itself after each
datagram.

Measured with one datagram a turn: three callers, 30 pictures a second each, on a core of which
other programs took most, were 5 to 6 s behind after 25 s, and falling behind further (2026-11).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from aioice.ice import StunProtocol

MAX_DATAGRAMS = 64
"""Datagrams of one socket before the other sockets have their turn."""
_LARGEST = 65_535
_connection_made = StunProtocol.connection_made
_datagram_received = StunProtocol.datagram_received
_connection_lost = StunProtocol.connection_lost


def install() -> None:
    """Read this way in connections that are made from now on, where the event loop hands out its sockets."""
    for name, value in (
        ("connection_made", _made),
        ("datagram_received", _received),
        ("connection_lost", _lost),
    ):
        setattr(StunProtocol, name, value)


def _made(self: Any, transport: asyncio.DatagramTransport) -> None:
    _connection_made(self, transport)
    self._rest = _handle_of(transport)


def _handle_of(transport: asyncio.DatagramTransport) -> socket.socket | None:
    """A second handle of a transport's socket, closed by us. None where only the loop can read the socket."""
    loops_own = transport.get_extra_info("socket")
    if loops_own is None or os.name == "nt":  # Windows' loop always has a read under way
        return None
    rest = socket.socket(fileno=os.dup(loops_own.fileno()))
    rest.setblocking(False)
    return rest


def _received(self: Any, data: bytes, addr: tuple[Any, ...]) -> None:
    _datagram_received(self, data, addr)
    rest: socket.socket | None = getattr(self, "_rest", None)
    if rest is None:
        return
    for _ in range(MAX_DATAGRAMS):
        try:
            data, addr = rest.recvfrom(_LARGEST)
        except OSError:  # nothing more waits, or an ICMP error, which the loop reports as well
            return
        _datagram_received(self, data, addr)


def _lost(self: Any, error: Exception | None) -> None:
    rest: socket.socket | None = getattr(self, "_rest", None)
    if rest is not None:
        rest.close()
        self._rest = None
    _connection_lost(self, error)
