"""Open Sound Control: packets as OSC 1.0 defines them, and what they do."""

from __future__ import annotations

import queue
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimicam.engine.errors import EngineError
from mimicam.engine.osc import OscControl, OscMessage, parse_address, parse_packet
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.mix import PresetMixer

SMILE = b"/mimicam/preset/smile\0\0\0,f\0\0" + struct.pack(">f", 0.5)
"""By hand from the specification: address and types padded to four bytes, then big-endian."""
PRESS = b"/mimicam/press/wink\0,\0\0\0"


def bundle(*packets: bytes) -> bytes:
    return b"#bundle\0" + bytes(8) + b"".join(struct.pack(">i", len(each)) + each for each in packets)


def test_a_packet_is_read_as_specified() -> None:
    assert list(parse_packet(SMILE)) == [OscMessage(address="/mimicam/preset/smile", arguments=(0.5,))]
    assert list(parse_packet(PRESS)) == [OscMessage(address="/mimicam/press/wink", arguments=())]
    # ",isTNFh" has seven letters and one zero byte: a multiple of four already.
    mixed = b"/a\0\0,isTNFh\0" + struct.pack(">i", -3) + b"word\0\0\0\0" + struct.pack(">q", 7)
    (message,) = parse_packet(mixed)
    assert message.arguments == (-3, "word", True, None, False, 7)


def test_bundles_hold_messages_and_bundles() -> None:
    found = [each.address for each in parse_packet(bundle(SMILE, bundle(PRESS)))]
    assert found == ["/mimicam/preset/smile", "/mimicam/press/wink"]


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"smile\0\0\0", b"/endless", b"/a\0\0,f\0\0\0\0", b"/a\0\0f\0\0\0", b"/a\0\0,b\0\0",
        b"/\xff\0\0,\0\0\0", b"#bundle\0" + bytes(8) + b"\0\0\0\x40", bundle(b""),
        bundle(bundle(bundle(bundle(bundle(PRESS))))),
    ],
)  # fmt: skip
def test_damaged_packets_are_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(parse_packet(packet))


@settings(deadline=None, max_examples=60)
@given(packet=st.binary(max_size=64) | st.binary(max_size=48).map(lambda data: bundle(data)))
def test_any_bytes_are_read_or_refused(packet: bytes) -> None:
    with suppress(ValueError):
        list(parse_packet(packet))


Make = Callable[[], OscControl]


@pytest.fixture
def mixer() -> PresetMixer:
    return PresetMixer(BUNDLED.values())


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(mixer: PresetMixer, told: list[str]) -> Make:
    return lambda: OscControl(("127.0.0.1", 0), set_amount=mixer.set, press=mixer.press, tell=told.append)


def test_messages_set_and_press_presets(make: Make, mixer: PresetMixer, told: list[str]) -> None:
    with make() as control:
        for packet in (SMILE, PRESS):
            control.handle(packet)
        for value in (1.0, 0.0):  # a button that goes down and comes up
            control.handle(b"/mimicam/press/laugh\0\0\0\0,f\0\0" + struct.pack(">f", value))
    assert list(mixer._asked) == [("smile", 0.5), ("wink", None), ("laugh", None)]
    assert told == []


def test_what_cannot_be_used_is_told_once(make: Make, mixer: PresetMixer, told: list[str]) -> None:
    unknown = b"/mimicam/preset/grn\0,f\0\0" + struct.pack(">f", 0.5)
    too_much = b"/mimicam/preset/sad\0,f\0\0" + struct.pack(">f", 9.0)
    nan = b"/mimicam/preset/sad\0,f\0\0" + struct.pack(">f", float("nan"))
    with make() as control:
        for packet in (unknown, unknown, too_much, nan, b"/other\0\0,\0\0\0", b"no"):
            control.handle(packet)
    assert len(told) == 5
    assert "there is no preset 'grn' here" in told[0]
    assert "sad must lie between -2 and 2" in told[1]
    assert "/other is not /mimicam/preset/NAME VALUE or /mimicam/press/NAME" in told[3]
    assert list(mixer._asked) == []


def test_packets_arrive_over_udp() -> None:
    arrived: queue.Queue[tuple[str, float]] = queue.Queue()
    control = OscControl(
        ("127.0.0.1", 0),
        set_amount=lambda name, amount: arrived.put((name, amount)),
        press=lambda _: None,
        tell=pytest.fail,
    )
    with control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(SMILE, ("127.0.0.1", control.port))
        assert arrived.get(timeout=10) == ("smile", 0.5)


def test_a_port_in_use_is_an_error_in_words(make: Make) -> None:
    with make() as control, pytest.raises(EngineError, match="choose another port"):
        OscControl(
            ("127.0.0.1", control.port), set_amount=lambda *_: None, press=lambda _: None, tell=lambda _: None
        )


def test_only_this_machine_may_send_by_default() -> None:
    assert parse_address("9000") == ("127.0.0.1", 9000)
    assert parse_address("0.0.0.0:9000") == ("0.0.0.0", 9000)
    for wrong in ("", "x", "9000:", "70000", "0"):
        with pytest.raises(EngineError, match="--osc must be PORT or HOST:PORT"):
            parse_address(wrong)
