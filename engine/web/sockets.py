"""Take all datagrams that wait in a socket, not one in each turn of the event loop.

Where threads compute, each turn of the loop waits for the interpreter's lock: on a machine with too much to do, turns
become rarer than packets, and the kernel's buffer turns into seconds of delay. Three callers, 30 pictures a second each,
on a core of which other programs took most: behind by 5 to 6 s after 25 s and growing with one datagram a turn (2026-11).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from aioice.ice import StunProtocol

AT_ONCE = 64
"""Datagrams of one socket before the others have their turn."""
_LARGEST = 65_535
_connection_made = StunProtocol.connection_made
_datagram_received = StunProtocol.datagram_received
_connection_lost = StunProtocol.connection_lost


def install() -> None:
    """Receive this way from now on, in this process. Loops that do not hand out their sockets go on as they are."""
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
    """A second handle of a transport's socket, to be closed by us; None where reading beside the loop is not possible."""
    loops_own = transport.get_extra_info("socket")
    if loops_own is None or os.name == "nt":  # Windows' loop has a read under way all the time
        return None
    rest = socket.socket(fileno=os.dup(loops_own.fileno()))
    rest.setblocking(False)
    return rest


def _received(self: Any, data: bytes, addr: tuple[Any, ...]) -> None:
    _datagram_received(self, data, addr)
    rest: socket.socket | None = getattr(self, "_rest", None)
    if rest is None:
        return
    for _ in range(AT_ONCE):
        try:
            data, addr = rest.recvfrom(_LARGEST)
        except OSError:  # nothing waits any more, or an ICMP error, which the loop reports as well
            return
        _datagram_received(self, data, addr)


def _lost(self: Any, error: Exception | None) -> None:
    rest: socket.socket | None = getattr(self, "_rest", None)
    if rest is not None:
        rest.close()
        self._rest = None
    _connection_lost(self, error)
