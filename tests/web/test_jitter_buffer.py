"""The jitter buffer, on good networks and bad ones."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import queue
import random
from collections.abc import Callable

import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from mimicam.benchmarks.bad_network import LinkConditions
from mimicam.engine.web.aiortc_patches import jitter_buffer
from mimicam.engine.web.aiortc_patches.jitter_buffer import (
    KEY_AFTER_S,
    MAX_PACKET,
    MAX_UNDECODED,
    MAX_WAITING,
    PATIENCE_S,
    VideoJitterBuffer,
    is_key,
)
from mimicam.engine.web.aiortc_patches.nack import HISTORY, NackGenerator
from tests.web.packets import DELTA, KEY, Clock, frame_packets

CLEAR = LinkConditions(loss=0.0, delay_ms=5.0, jitter_ms=0.0)
BAD = LinkConditions(loss=0.05, delay_ms=200.0, jitter_ms=200.0)


def _frames(count: int, each: int, first: int = 65_530) -> list[RtpPacket]:
    return [p for n in range(count) for p in frame_packets(first + n * each, each, n, DELTA if n else KEY)]


def _stamps(buffer: VideoJitterBuffer, packets: list[RtpPacket]) -> list[int]:
    out = []
    for packet in packets:
        frame = buffer.add(packet)[1]
        out += ([frame.timestamp] if frame else []) + [f.timestamp for f, _ in buffer.rest()]
    return out


def test_a_frame_is_released_with_its_last_packet() -> None:
    buffer = VideoJitterBuffer(Clock())
    released = [buffer.add(packet)[1] is not None for packet in _frames(3, 3)]
    assert released == [False, False, True] * 3


def test_packets_in_any_order_give_the_same_frames() -> None:
    shuffle = random.Random(1)
    for _ in range(50):
        packets = _frames(6, 4)
        for k in range(0, len(packets), 6):
            packets[k : k + 6] = shuffle.sample(packets[k : k + 6], len(packets[k : k + 6]))
        again = packets[:5] + packets  # some come twice
        assert _stamps(VideoJitterBuffer(Clock()), again) == list(range(6))


def test_filling_a_gap_releases_all_frames_after_it() -> None:
    packets = _frames(8, 1)
    late = packets.pop(2)
    buffer = VideoJitterBuffer(Clock())
    assert _stamps(buffer, packets) == [0, 1]
    assert _stamps(buffer, [late]) == [2, 3, 4, 5, 6, 7], "one frame a packet would never catch up"


def test_a_complete_key_frame_skips_a_gap() -> None:
    packets = _frames(3, 2)
    key = frame_packets(65_536, 3, 3, KEY)
    buffer = VideoJitterBuffer(Clock())
    assert _stamps(buffer, packets[:2] + packets[3:]) == [0]
    assert _stamps(buffer, [key[0], key[2]]) == [], "a key frame with a hole does not help"
    assert _stamps(buffer, [key[1]]) == [3]


def test_a_lasting_gap_is_skipped_and_requests_key_frames() -> None:
    clock = Clock()
    buffer = VideoJitterBuffer(clock)
    packets = _frames(40, 2, first=0)
    _stamps(buffer, packets[:2])
    asked, shown = [], []
    for packet in packets[3:]:
        clock.s += 0.05
        wants, frame = buffer.add(packet)
        asked += [clock.s - 100.0] if wants else []
        shown += [frame.timestamp] if frame else []
        shown += [f.timestamp for f, _ in buffer.rest()]
    assert shown == list(range(2, 40)), "frame 1 was given up"
    assert asked[0] == pytest.approx(KEY_AFTER_S, abs=0.11)
    assert len(asked) > 3, "once might be lost"
    assert _stamps(buffer, frame_packets(80, 1, 50, KEY)) == [50]
    clock.s += 5.0
    assert not buffer.add(frame_packets(81, 1, 51)[0])[0], "mended: no more wishes"


def test_a_new_stream_resets_the_buffer() -> None:
    buffer = VideoJitterBuffer(Clock())
    _stamps(buffer, _frames(3, 2, first=100))
    assert _stamps(buffer, _frames(3, 2, first=30_000)) == [0, 1, 2]


@pytest.mark.parametrize("step", [-1, -7, 1])
def test_few_packets_wait_whatever_their_numbers(step: int) -> None:
    buffer, most = VideoJitterBuffer(Clock()), 0
    for n in range(6000):
        (packet,) = frame_packets(n * step, 1, n // 1000)
        packet.marker = 0
        buffer.add(packet)
        most = max(most, len(buffer._packets))
    assert most <= MAX_WAITING + 1


def test_a_packet_beyond_any_network_is_ignored() -> None:
    buffer = VideoJitterBuffer(Clock())
    huge = frame_packets(0, 1, 0, KEY + bytes(MAX_PACKET))
    assert _stamps(buffer, huge + frame_packets(1, 1, 1, KEY)) == [1]


def test_key_frames_are_known_by_their_start() -> None:
    assert is_key(KEY)
    assert is_key(b"\0\0\0\1\x67..")
    assert not any(is_key(data) for data in (DELTA, b"\0\0\0\1\x61..", b"", b"\0\0\0\1"))


class Camera:
    """A sender that works as in browsers.

    It retransmits a packet once per round trip, and sends key frames on request.
    """

    def __init__(self) -> None:
        self.number, self.stamp, self.wants_key = 0, 0, True
        self.kept: dict[int, tuple[RtpPacket, float]] = {}

    def frame(self, now_s: float) -> list[RtpPacket]:
        count, data = (14, KEY) if self.wants_key else (5, DELTA)
        packets = frame_packets(self.number, count, self.stamp, data)
        self.kept |= {p.sequence_number: (p, now_s) for p in packets}
        self.number, self.stamp, self.wants_key = self.number + count, self.stamp + 1, False
        return packets

    def again(self, number: int, now_s: float) -> list[RtpPacket]:
        packet, sent_s = self.kept.get(number, (None, 0.0))
        if packet is None or now_s - sent_s < 0.4 or (self.number - number) & 0xFFFF > HISTORY:
            return []
        self.kept[number] = (packet, now_s)
        return [packet]


class Simulation:
    """Simulates camera, network and receiver with a clock of its own."""

    def __init__(self, seed: int) -> None:
        self.clock, self.chance = Clock(), random.Random(seed)
        self.camera = Camera()
        self.buffer, self.missing = VideoJitterBuffer(self.clock), NackGenerator(self.clock)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.conditions = CLEAR
        self.shown: list[tuple[float, float]] = []
        """Time and age of shown frames, in seconds."""
        self._later(0.0, self._film)

    def run(self, seconds: float, conditions: LinkConditions) -> list[tuple[float, float]]:
        self.conditions, self.shown = conditions, []
        end_s = self.clock.s + seconds
        while self.events[0][0] < end_s:
            self.clock.s, _, event = heapq.heappop(self.events)
            event()
        return self.shown

    def _later(self, after_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.clock.s + after_s, next(self.order), event))

    def _through_network(self, event: Callable[[], None]) -> None:
        hold_s = self.conditions.hold_s(self.chance)
        if hold_s is not None:
            self._later(hold_s, event)

    def _film(self) -> None:
        self._send(self.camera.frame(self.clock.s))
        self._later(1 / 30, self._film)

    def _send(self, packets: list[RtpPacket]) -> None:
        for packet in packets:
            self._through_network(lambda packet=packet: self._receive(packet))

    def _receive(self, packet: RtpPacket) -> None:
        if self.missing.add(packet):
            asked = sorted(self.missing.missing)
            self._through_network(
                lambda: self._send([p for n in asked for p in self.camera.again(n, self.clock.s)])
            )
        wants_key, frame = self.buffer.add(packet)
        if wants_key:
            self._through_network(lambda: setattr(self.camera, "wants_key", True))
        for one in [frame, *(f for f, _ in self.buffer.rest())]:
            if isinstance(one, JitterFrame):
                self.shown.append((self.clock.s, self.clock.s - 100.0 - one.timestamp / 30))


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_jitter_cause_no_long_freeze_or_growing_delay(seed: int) -> None:
    network = Simulation(seed)
    network.run(5.0, CLEAR)
    shown = network.run(120.0, BAD)
    longest = max(b[0] - a[0] for a, b in itertools.pairwise(shown))
    ages = [age for _, age in shown]
    assert longest < 2.0, "a freeze"
    assert len(shown) > 0.75 * 120 * 30, "key frames that overtake replace what was before them, no more"
    assert max(ages) < 2.5
    third = len(ages) // 3
    assert sorted(ages[-third:])[third // 2] < sorted(ages[:third])[third // 2] + 0.1, "the delay grows"


def test_it_recovers_at_once_when_the_network_does() -> None:
    network = Simulation(9)
    network.run(30.0, BAD)
    after = network.run(10.0, CLEAR)
    young = next(when for when, age in after if age < 0.05)
    assert young - after[0][0] < 1.5
    assert all(age < 0.05 for when, age in after if when > young + 1.0)


def test_delay_recovers_after_three_seconds_without_packets() -> None:
    network = Simulation(3)
    network.run(5.0, CLEAR)
    network.run(3.0, LinkConditions(loss=1.0, delay_ms=0.0, jitter_ms=0.0))
    after = network.run(10.0, CLEAR)
    assert next(when for when, age in after if age < 0.05) - after[0][0] < PATIENCE_S + 0.3
    assert after[-1][1] < 0.05


class _Receiver:
    """The parts of aiortc's receiver that the patch uses, with a decoder that does nothing."""

    def __init__(self) -> None:
        self._RTCRtpReceiver__jitter_buffer = self.buffer = VideoJitterBuffer(Clock())
        self._RTCRtpReceiver__decoder_queue = self.waiting = queue.Queue()
        self._RTCRtpReceiver__codecs = {0: "vp8"}
        self.asked_for_keys = 0


def test_a_slow_decoders_queue_is_dropped_up_to_a_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = _Receiver()

    async def plain(one: _Receiver, packet: RtpPacket, _: int) -> None:
        key, frame = one.buffer.add(packet)
        one.asked_for_keys += key
        if frame is not None:
            one.waiting.put(("vp8", frame))

    monkeypatch.setattr(jitter_buffer, "_handle", plain)

    def come(packets: list[RtpPacket]) -> None:
        for packet in packets:
            asyncio.run(jitter_buffer._handle_packet(receiver, packet, 0))

    come([p for n in range(60) for p in frame_packets(2 * n, 2, n, DELTA if n else KEY)])
    assert receiver.waiting.qsize() <= MAX_UNDECODED + 1, "the delay stays bounded"
    assert receiver.asked_for_keys == 1
    come(frame_packets(120, 2, 60, KEY) + frame_packets(122, 2, 61))
    waiting = [receiver.waiting.get_nowait()[1].timestamp for _ in range(receiver.waiting.qsize())]
    assert waiting == [60, 61], "what refers to pictures that were thrown away is not decoded"
    for item in [("vp8", None)] * (MAX_UNDECODED + 1) + [None]:
        receiver.waiting.put(item)
    come(frame_packets(124, 1, 62))
    assert receiver.waiting.get_nowait() is None, "the decoder is still told to end"
