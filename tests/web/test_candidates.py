"""Which candidates of an offer the server sends packets to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from aioice.ice import Connection, get_host_addresses

from mimicam.engine.web.candidates import MAX_CANDIDATES, on_a_network, on_this_machine
from mimicam.engine.web.options import LOOPBACK_NAMES
from tests.web.clients import Driver
from tests.web.conftest import OPTIONS, Run, studio_running

_HEAD = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
_END = "a=end-of-candidates\r\n"


def _offer(*addresses: tuple[str, object]) -> str:
    lines = [f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n" for host, port in addresses]
    return _HEAD + "".join(lines) + _END


def _addresses(sdp: str) -> list[tuple[str, int]]:
    return [(host, int(port)) for host, port in re.findall(r"a=candidate:\S+ \d udp \d+ (\S+) (\d+) ", sdp)]


def test_on_this_machine_only_its_own_addresses_are_kept() -> None:
    own = [(address, 50_000) for address in get_host_addresses(use_ipv4=True, use_ipv6=True)][:8]
    own += [("127.0.0.1", 40_000), ("::1", 40_001)]
    others = [("203.0.113.9", 50_000), ("224.0.0.251", 5353), ("2001:db8::1", 40_000), ("a1.local", 40_000)]
    sdp = _offer(*own, *others)
    assert _addresses(on_this_machine(sdp)) == own
    assert _addresses(on_a_network(sdp)) == [
        *((host, port) for host, port in own if host not in ("127.0.0.1", "::1")),
        *(other for other in others if other[0] != "224.0.0.251"),
    ]


@pytest.mark.parametrize(
    "host",
    [
        "224.0.0.251", "ff02::fb", "169.254.169.254", "fe80::1", "255.255.255.255", "0.0.0.0", "::",
        "127.0.0.1", "::1", "::ffff:224.0.0.1", "::ffff:169.254.169.254", "example.com", "1.2.3", "",
    ],
)  # fmt: skip
def test_on_a_network_addresses_of_no_peer_are_dropped(host: str) -> None:
    assert _addresses(on_a_network(_offer((host, 50_000), ("203.0.113.9", 50_000)))) == [
        ("203.0.113.9", 50_000)
    ]


@pytest.mark.parametrize("port", [0, 53, 123, 1023, 65_536, -1, "5_0_0_0", "+50000", "x"])
def test_ports_of_the_system_are_dropped(port: object) -> None:
    for choose, host in ((on_a_network, "203.0.113.9"), (on_this_machine, "127.0.0.1")):
        assert "a=candidate" not in choose(_offer((host, port)))


def test_few_candidates_are_kept_in_their_order() -> None:
    many = [("203.0.113.9", port) for port in range(50_000, 50_100)]
    assert _addresses(on_a_network(_offer(*many))) == many[:MAX_CANDIDATES]


def test_an_offer_with_good_candidates_stays_as_it_is() -> None:
    sdp = _offer(("203.0.113.9", 50_000))
    assert on_a_network(sdp) == sdp
    assert _END not in on_a_network(_offer(("203.0.113.9", 50_000), ("224.0.0.1", 50_000)))


@pytest.mark.parametrize(
    "line", ["a=candidate:", "a=candidate:1 1 udp 1 203.0.113.9", "a=candidate:" + " " * 99]
)
def test_broken_candidates_are_dropped(line: str) -> None:
    assert "a=candidate" not in on_a_network(f"{_HEAD}{line}\r\n")


def test_a_server_named_for_others_takes_candidates_of_a_network() -> None:
    assert OPTIONS.for_this_machine_only
    for changes in ({"host": "192.0.2.1"}, {"names": LOOPBACK_NAMES | {"studio.example"}}):
        assert not replace(OPTIONS, **changes).for_this_machine_only  # type: ignore[arg-type]


def test_a_call_connects_although_all_its_candidates_are_dropped(
    run: Run, drawn_portraits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a browser that hides its addresses, or comes through a tunnel."""
    reached: list[str] = []
    add = Connection.add_remote_candidate

    async def noted(self: Connection, candidate: object) -> None:
        reached.append(getattr(candidate, "host", ""))
        await add(self, candidate)  # type: ignore[arg-type]

    async def work() -> None:
        async with studio_running(drawn_portraits) as live:
            driver = Driver(live.http, live.url, _Elsewhere())  # type: ignore[arg-type]
            assert await driver.call() == 200
            await driver.frame()
            await driver.hang_up()

    monkeypatch.setattr(Connection, "add_remote_candidate", noted)
    run(work())
    assert reached, "the driver added the server's"
    assert "203.0.113.9" not in reached


class _Elsewhere:
    """Stands for a network: replaces the addresses of an offer, and leaves answers alone."""

    def offer_through(self, sdp: str) -> str:
        return re.sub(r"(a=candidate:\S+ \d udp \d+ )\S+", r"\g<1>203.0.113.9", sdp)

    def answer_through(self, sdp: str) -> str:
        return sdp
