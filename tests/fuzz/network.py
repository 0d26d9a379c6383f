"""Offers, RTP packets and messages of the data channel: answered, or refused in one line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
from aiortc.codecs import depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtcpPacket, RtpPacket
from hypothesis import strategies as st

from mimicam.engine.web import aiortc_patches
from mimicam.engine.web.aiortc_patches.jitter_buffer import MAX_WAITING, VideoJitterBuffer
from mimicam.engine.web.aiortc_patches.nack import MAX_MISSING, NackGenerator
from mimicam.engine.web.aiortc_patches.picture_limits import LimitedDecoder, is_too_large
from mimicam.engine.web.candidates import MAX_CANDIDATES, on_a_network, on_this_machine
from mimicam.engine.web.peer import OfferError, Peer
from mimicam.engine.web.protocol import changed, parse
from mimicam.engine.web.settings import MessageError, Settings
from mimicam.engine.web.studio import void
from tests.fuzz.mutate import changed_bytes, changed_lines, check_line, seeds
from tests.web.packets import DELTA, KEY, Clock

aiortc_patches.install()
_ANSWER_LIMIT_S = 10.0


def changed_offers() -> st.SearchStrategy[str]:
    """Return changed offers of browsers and programs."""
    return st.sampled_from([path.read_text() for path in seeds("offers")]).flatmap(changed_lines)


def check_offer(_: Path, sdp: str) -> None:
    """Answer an offer, and close the connection."""
    for choose in (on_this_machine, on_a_network):
        assert choose(sdp).count("a=candidate:") <= max(MAX_CANDIDATES, sdp.count(" a=candidate:"))
    asyncio.run(asyncio.wait_for(_answered(sdp), _ANSWER_LIMIT_S))


async def _answered(sdp: str) -> None:
    closed: list[str] = []
    peer = Peer(choose=on_this_machine, connect_s=60.0, silent_s=60.0, on_close=closed.append)
    try:
        answer = await peer.answer(sdp, lambda _: void(peer.add_video("recvonly")))
        assert answer.startswith("v=0")
        assert not closed
        await peer.close("hung_up")
    except OfferError as error:
        check_line(error)
    assert len(closed) == 1, "the place is free again, once"


_PACKET = st.tuples(
    st.sampled_from((1, 1, 1, 2, 0, -1, -2, 5, 100, 1000, 3000, -3000, 32768)),
    st.sampled_from((0, 0, 3000, 1, -1, 2**31)),
    st.booleans(),
    st.sampled_from((KEY, DELTA, b"", b"\0\0\0\1\x67", b"\0\0\0\1")) | st.binary(max_size=12),
    st.sampled_from((0.0, 0.001, 0.03, 2.0)),
)
"""Steps of number and timestamp, marker, content, seconds until the next packet."""


@st.composite
def packets(draw: st.DrawFn) -> tuple[list[tuple[int, int, bool, bytes, float]], str, bytes]:
    """Return packets, and a changed payload or frame of the corpus with its name."""
    sequence = draw(st.lists(_PACKET, max_size=60)) * draw(st.sampled_from((1, 1, 20)))
    path = draw(st.sampled_from(seeds("rtp")))
    return sequence, path.name, draw(changed_bytes(path.read_bytes()))


def check_packets(_: Path, example: tuple[list[tuple[int, int, bool, bytes, float]], str, bytes]) -> None:
    """Receive packets, and parse and decode what aiortc would."""
    sequence, name, content = example
    _receive(sequence)
    codec = SimpleNamespace(name=name.split("-")[0].upper(), mimeType=f"video/{name.split('-')[0].upper()}")
    if "packet" in name:
        _parse(content)
    elif "payload" in name:
        _only(ValueError, lambda: depayload(codec, content))  # aiortc catches this
    else:
        _decode(codec, content)


def _receive(sequence: list[tuple[int, int, bool, bytes, float]]) -> None:
    clock, number, stamp = Clock(), 65_530, 0
    buffer, missing = VideoJitterBuffer(clock), NackGenerator(clock)
    for step, ticks, marker, content, seconds in sequence:
        number, stamp = (number + step) & 0xFFFF, (stamp + ticks) & 0xFFFFFFFF
        packet: Any = RtpPacket(sequence_number=number, timestamp=stamp, marker=int(marker))
        packet._data = content
        missing.add(packet)
        buffer.add(packet)
        list(buffer.rest())
        assert len(buffer._packets) <= MAX_WAITING + 1
        assert len(missing._gaps) <= MAX_MISSING
        clock.s += seconds


def _parse(content: bytes) -> None:
    _only(ValueError, lambda: RtpPacket.parse(content))
    _only(ValueError, lambda: RtcpPacket.parse(content))


def _decode(codec: Any, content: bytes) -> None:
    decoder = LimitedDecoder(codec)
    try:
        decoded = decoder.decode(JitterFrame(data=content, timestamp=0))
    except av.FFmpegError:  # aiortc catches this
        return
    assert all(is_too_large(picture) or picture.width * picture.height < 4_000_000 for picture in decoded)


def _only(error: type[Exception], work: Any) -> None:
    try:
        work()
    except error:
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def changed_messages() -> st.SearchStrategy[str | bytes]:
    """Return changed messages, and others of any content."""
    texts = [path.read_text() for path in seeds("messages")]
    changed_ones = st.sampled_from(texts).flatmap(lambda text: changed_bytes(text.encode()))
    settings = st.builds(lambda value: json.dumps({"type": "set", "settings": value}), _JSON)
    return changed_ones.map(lambda data: data.decode(errors="replace")) | settings | st.binary(max_size=64)


def check_message(_: Path, text: str | bytes) -> None:
    """Handle a message of the data channel."""
    try:
        message = parse(text)
        if message["type"] == "set":
            assert changed(Settings(portrait="x"), message["settings"]).values()
    except MessageError as error:
        check_line(error)
