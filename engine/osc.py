"""Control of presets by Open Sound Control 1.0 over UDP, which Stream Decks, OBS plugins and
scripts send.

``/mimicam/preset/NAME VALUE`` eases a preset to an amount; ``/mimicam/press/NAME`` is its hotkey.
"""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mimicam.engine.errors import EngineError

Argument = float | str | bool | None
_LARGEST = 4096
"""Bytes of a packet; what is longer is cut off, and refused then."""
_DEEPEST = 4
"""Bundles inside each other."""
_WAIT_S = 0.2
"""Seconds between two looks whether to end."""
_NUMBERS = {"i": ">i", "f": ">f", "h": ">q", "d": ">d"}
_CONSTANTS: dict[str, Argument] = {"T": True, "F": False, "N": None, "I": math.inf}
_PRESET, _PRESS = "/mimicam/preset/", "/mimicam/press/"


@dataclass(frozen=True, slots=True, kw_only=True)
class OscMessage:
    """One message of a packet."""

    address: str
    arguments: tuple[Argument, ...]


def parse_packet(packet: bytes, depth: int = 0) -> Iterator[OscMessage]:
    """Yield the messages of a packet, those of bundles too; their times are not kept.

    Raises:
        ValueError: it is damaged.
    """
    if not packet.startswith(b"#bundle\0"):
        yield _message(packet)
        return
    if depth == _DEEPEST:
        raise ValueError("bundles lie too deep inside each other")
    at = 16  # behind the name and the time
    while at < len(packet):
        size = int(_unpack(">i", packet, at))
        if not 0 < size <= len(packet) - at - 4:
            raise ValueError("an element of a bundle is cut off")
        yield from parse_packet(packet[at + 4 : at + 4 + size], depth + 1)
        at += 4 + size


def parse_address(text: str) -> tuple[str, int]:
    """Parse ``PORT`` or ``HOST:PORT``; by default only this machine may send.

    Raises:
        EngineError: it is something else.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise EngineError(f"--osc must be PORT or HOST:PORT, for example 9000, not '{text}'")
    return host or "127.0.0.1", int(port)


class OscControl:
    """Receives messages on a thread of its own, from `start` to `close`."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        set_amount: Callable[[str, float], None],
        press: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        """Bind the port.

        Args:
            address: host and port to listen on.
            set_amount: receives a preset's name and amount; may raise `EngineError`.
            press: receives the name of a preset whose hotkey was pressed; may raise `EngineError`.
            tell: receives a line for each kind of message that cannot be used, once.

        Raises:
            EngineError: the port cannot be used.
        """
        self._set_amount, self._press, self._tell = set_amount, press, tell
        self._told: set[str] = set()
        self._stop = threading.Event()
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(address)
        except OSError as error:
            raise EngineError(
                f"OSC cannot listen on {address[0]}:{address[1]} ({error.strerror}): choose another port"
            ) from error
        self._socket.settimeout(_WAIT_S)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._receive, name="osc", daemon=True)

    def __enter__(self) -> OscControl:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def handle(self, packet: bytes) -> None:
        """Do what a packet asks for; what cannot be used is told once."""
        try:
            for message in parse_packet(packet):
                self._do(message)
        except (ValueError, EngineError) as error:
            self._tell_once(str(error))

    def _do(self, message: OscMessage) -> None:
        first = message.arguments[0] if message.arguments else None
        if message.address.startswith(_PRESET) and isinstance(first, int | float):
            self._set_amount(message.address[len(_PRESET) :], float(first))
        elif message.address.startswith(_PRESS):
            # Buttons send 1 when they go down, and 0 when they come up.
            if first is None or first:
                self._press(message.address[len(_PRESS) :])
        else:
            self._tell_once(f"{message.address[:80]} is not {_PRESET}NAME VALUE or {_PRESS}NAME")

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                packet = self._socket.recv(_LARGEST)
            except TimeoutError:
                continue
            except OSError as error:  # Windows reports an earlier answer that did not arrive
                self._tell_once(error.strerror or str(error))
                continue
            self.handle(packet)

    def _tell_once(self, reason: str) -> None:
        # Bounded, since the sender chooses the words.
        if reason not in self._told and len(self._told) < 32:
            self._told.add(reason)
            self._tell(f"OSC: {reason}")


def _message(packet: bytes) -> OscMessage:
    address, at = _text(packet, 0)
    if not address.startswith("/"):
        raise ValueError("a message has no address")
    if at >= len(packet):
        return OscMessage(address=address, arguments=())  # old senders leave the types out
    types, at = _text(packet, at)
    if not types.startswith(","):
        raise ValueError("a message has no types")
    arguments: list[Argument] = []
    for kind in types[1:]:
        if kind in _CONSTANTS:
            arguments.append(_CONSTANTS[kind])
        elif kind == "s":
            text, at = _text(packet, at)
            arguments.append(text)
        elif kind in _NUMBERS:
            arguments.append(_unpack(_NUMBERS[kind], packet, at))
            at += struct.calcsize(_NUMBERS[kind])
        else:
            raise ValueError(f"arguments of type {kind!r} are not read")
    return OscMessage(address=address, arguments=tuple(arguments))


def _text(packet: bytes, at: int) -> tuple[str, int]:
    """Return a text that ends with a zero byte, and where the next argument begins: a multiple of
    four."""
    end = packet.find(b"\0", at)
    if end < 0:
        raise ValueError("a text has no end")
    try:
        return packet[at:end].decode("ascii"), (end + 4) & ~3
    except UnicodeDecodeError:
        raise ValueError("a text is not ASCII") from None


def _unpack(kind: str, packet: bytes, at: int) -> float:
    if at + struct.calcsize(kind) > len(packet):
        raise ValueError("an argument is cut off")
    (found,) = struct.unpack_from(kind, packet, at)
    number: float = found
    return number
