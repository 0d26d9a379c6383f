"""A bad network between two WebRTC peers of one machine: a UDP relay that loses and delays packets.

It does what ``tc qdisc add ... netem delay 200ms 200ms loss 5%`` does, in user space and without
privileges, for kernels without netem. Each packet is lost with a probability, or delayed by itself
for a time drawn evenly around a mean. So packets overtake each other. Both ways have the same
properties.

Session descriptions lead the peers through the relay: each holds the relay's address in place of
the other peer's.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from mimicam.engine.concurrency.threads import Worker

_START_LIMIT_S = 10.0
_Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConditions:
    """Loss and delay of packets, each way."""

    loss: float = 0.05
    """Probability, 0..1."""
    delay_ms: float = 200.0
    jitter_ms: float = 200.0
    """A packet is held for ``delay_ms`` plus or minus up to this."""

    def hold_s(self, chance: random.Random) -> float | None:
        """For how long a packet is held; None: it is lost."""
        if chance.random() < self.loss:
            return None
        return max(0.0, self.delay_ms + chance.uniform(-self.jitter_ms, self.jitter_ms)) / 1000


@dataclass(slots=True)
class _Side(asyncio.DatagramProtocol):
    """The socket that one peer talks to; what comes in leaves at the other side's socket."""

    relay: BadNetwork
    peer: _Address | None = None
    """Address to send to: the newest that this peer sent from."""
    other: _Side | None = None
    socket: Any = None
    port: int = 0

    def connection_made(self, transport: Any) -> None:
        self.socket, self.port = transport, transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: Any) -> None:
        # A peer probes from a socket on each of its interfaces. The first one stays, or answers
        # would alternate between them.
        if self.peer is None or self.peer[1] == source[1]:
            self.peer = source
            assert self.other is not None, "sides are joined before they listen"
            self.relay.carry(data, self.other)


@dataclass(slots=True)
class BadNetwork:
    """Carries one call. Use as a context manager; `conditions` may be changed at any time."""

    conditions: LinkConditions = field(default_factory=LinkConditions)
    seed: int = 1
    carried: int = 0
    lost: int = 0
    _chance: random.Random = field(default_factory=random.Random)
    _loop: Any = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _worker: Any = None
    _near: Any = None
    _far: Any = None
    _stop: Any = None

    def __enter__(self) -> BadNetwork:
        # One seed for both ways, so that a run loses the same packets as the one before.
        self._chance.seed(self.seed)
        self._worker = Worker("bad-network", lambda: asyncio.run(self._run()), on_end=self._ready.set)
        self._worker.start()
        assert self._ready.wait(_START_LIMIT_S), "the relay listens"
        self._worker.raise_error()
        return self

    def __exit__(self, *_: object) -> None:
        # The caller is another thread than the relay's loop, and asyncio's events are not safe
        # across threads.
        self._loop.call_soon_threadsafe(self._stop.set)
        self._worker.join(_START_LIMIT_S)

    def offer_through(self, sdp: str) -> str:
        """The client's offer as the server is to see it."""
        return _led_to(sdp, (_own_address(), self._far.port))

    def answer_through(self, sdp: str) -> str:
        """The server's answer as the client is to see it."""
        # The relay has to know where the client's first packet goes. The client's own address is
        # learnt from that packet.
        self._far.peer = _first_candidate(sdp)
        return _led_to(sdp, (_own_address(), self._near.port))

    def carry(self, data: bytes, out: _Side) -> None:
        """Lose a packet, or send it on later. On the relay's loop."""
        hold_s = self.conditions.hold_s(self._chance)
        if hold_s is None:
            self.lost += 1
            return
        self.carried += 1
        # A timer for each packet, not a queue: packets overtake each other, as with netem.
        self._loop.call_later(hold_s, self._leave, data, out)

    def _leave(self, data: bytes, out: _Side) -> None:
        if out.peer is not None and not out.socket.is_closing():
            out.socket.sendto(data, out.peer)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._near, self._far = _Side(self), _Side(self)
        self._near.other, self._far.other = self._far, self._near
        for side in (self._near, self._far):
            # All interfaces and any free port. Bound to loopback, it could not be reached at the
            # address that candidates hold.
            await self._loop.create_datagram_endpoint(lambda side=side: side, local_addr=("0.0.0.0", 0))
        self._ready.set()
        await self._stop.wait()
        for side in (self._near, self._far):
            side.socket.close()


def _led_to(sdp: str, address: _Address) -> str:
    """A description whose only candidate is an address (RFC 8839, section 5.1)."""
    lines = [
        line for line in sdp.splitlines() if not line.startswith(("a=candidate:", "a=end-of-candidates"))
    ]
    # 2130706431 is the priority of a host candidate (RFC 8445, section 5.1.2): type preference 126,
    # local preference 65535, component 1.
    candidate = f"a=candidate:1 1 udp 2130706431 {address[0]} {address[1]} typ host"
    out = []
    for line in lines:
        out.append(line)
        if line.startswith("a=ice-pwd:"):
            out += [candidate, "a=end-of-candidates"]
    return "\r\n".join(out) + "\r\n"


def _first_candidate(sdp: str) -> _Address:
    """The first one by UDP and IPv4."""
    found = re.search(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", sdp, re.IGNORECASE)
    assert found is not None, "the server offers an IPv4 address"
    return found[1], int(found[2])


def _own_address() -> str:
    """The address of this machine that others would reach; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket chooses a route, and with it the address, without a packet.
            probe.connect(("10.255.255.255", 1))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
