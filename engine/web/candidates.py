"""Choose the ICE candidates of an offer to which the server sends packets.

ICE sends six STUN checks to each candidate. An offer could therefore make the server send packets
to addresses and ports of the caller's choice.

Connections do not depend on the offer's candidates. The peer checks ours, and its address becomes a
peer-reflexive candidate (RFC 8445, section 7.3.1.3).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from aioice.ice import get_host_addresses
from aioice.mdns import is_mdns_hostname

Choose = Callable[[str], str]
"""Takes an offer, and returns it with fewer candidates."""
MAX_CANDIDATES = 16
"""Candidates that are kept. A laptop with two networks, a VPN and IPv6 has about ten."""
_FIRST_PORT = 1024
"""Lower ports belong to services of the system, and never to ICE."""
_LINE, _END = "a=candidate:", "a=end-of-candidates"


def on_this_machine(sdp: str) -> str:
    """Keep candidates with an address of this machine, for a server that only it can reach."""
    own = {ipaddress.ip_address(text) for text in get_host_addresses(use_ipv4=True, use_ipv6=True)}

    def is_own(host: str) -> bool:
        address = _address(host)
        return address is not None and (address.is_loopback or address in own)

    return _reduced(sdp, is_own)


def on_a_network(sdp: str) -> str:
    """Keep candidates that a peer on a network may have.

    Names under ``.local`` are kept: browsers hide their address in them, and aioice looks them up
    on the local network.
    """
    return _reduced(sdp, _is_a_peers)


def _is_a_peers(host: str) -> bool:
    address = _address(host)
    if address is None:
        return is_mdns_hostname(host)
    # Reserved addresses include the broadcast address.
    return not (
        address.is_multicast
        or address.is_link_local
        or address.is_loopback
        or address.is_reserved
        or address.is_unspecified
    )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _reduced(sdp: str, allows: Callable[[str], bool]) -> str:
    """Drop lines of candidates that are not allowed, have a system port, or are too many."""
    # Split as aiortc does, or it could find candidates in what is one line here.
    lines = sdp.splitlines()
    given = [n for n, line in enumerate(lines) if line.startswith(_LINE)]
    kept = [n for n in given if _is_allowed(lines[n], allows)][:MAX_CANDIDATES]
    if kept == given:
        return sdp
    dropped = {n for n in given if n not in kept}
    # Without the mark of the end, ICE waits for the peer's checks. With it, ICE would fail at once
    # where no candidate is left.
    dropped |= {n for n, line in enumerate(lines) if line.startswith(_END)}
    return "".join(f"{line}\r\n" for n, line in enumerate(lines) if n not in dropped)


def _is_allowed(line: str, allows: Callable[[str], bool]) -> bool:
    """Check a line ``a=candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ
    TYPE``."""
    parts = line[len(_LINE) :].split()
    if len(parts) < 8 or not parts[5].isdecimal():
        return False
    return _FIRST_PORT <= int(parts[5]) <= 65535 and allows(parts[4])
