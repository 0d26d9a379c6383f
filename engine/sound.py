"""Sound of the driving file: copied, re-encoded or left out. It never delays or spoils pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer, OutputContainer

from mimicam.engine.video_container import main_video, open_container

_PRIMING_S = 0.5
"""Seconds. Encoders start sound a little before zero; earlier sound belongs to no picture."""
_JUMP_BACK_S = 0.5
"""Seconds. A larger step back in a file's times starts a new recording, joined to the first."""
_GAP_S = 0.1
"""Seconds. Shorter gaps in re-encoded sound are closed, since rounding causes them."""
_AVI_PAUSE_TICKS = 50_000
"""Longest pause in AVI, in ticks of the stream. From 60,000 on FFmpeg fails (avienc.c)."""
_TRIAL_PACKETS = 8
_ENCODERS = {
    "mp4": ("aac",),
    "mov": ("aac",),
    "matroska": ("aac",),
    "avi": ("libmp3lame", "ac3", "pcm_s16le"),
}
"""Encoders by container, for sound that cannot be copied; best first."""
_FAILURES = (av.error.FFmpegError, OSError, ValueError, RuntimeError, AttributeError)
"""Errors of PyAV on streams that it cannot use. An unknown codec has no codec context at all."""

Mux = Callable[[Any], None]


class Sound(Protocol):
    """Interface between rendering and the driving file's sound."""

    def write_until(self, time_s: float) -> None:
        """Write the sound before ``time_s``."""
        ...

    def finish(self, end_s: float = float("inf")) -> None:
        """Write the remaining sound, up to a time, and close the file."""
        ...


class Silence:
    """Stands for a file without sound that can be used; see `Sound`."""

    def write_until(self, time_s: float) -> None:
        """See `Sound.write_until`; writes nothing."""

    def finish(self, end_s: float = float("inf")) -> None:
        """See `Sound.finish`; nothing is open."""


def open_sound(path: Path, into: OutputContainer, mux: Mux, tell: Callable[[str], None]) -> Sound:
    """Choose how the sound is written, before the first picture is written.

    Args:
        path: the driving file.
        into: the result, still empty.
        mux: adds a packet to the result.
        tell: receives one line if the sound is not copied as it is.
    """
    try:
        source = open_container(path)
        stream = source.streams.best("audio")
        if stream is None:
            source.close()
            return Silence()
        name = stream.codec_context.name
    except _FAILURES:
        tell("the sound is left out: its format is unknown here")
        return Silence()
    kind = into.format.name
    mux = _WithoutPauses(mux) if kind == "avi" else mux
    if _holds(path, kind, stream.index):
        out = into.add_stream_from_template(stream)
        return _Track(source, stream, _Copy(out, mux), tell, start_s=_picture_start_s(source))
    encoder = _encoder(path, kind, stream.index)
    if encoder is None:
        tell(f"the sound is left out: {kind} cannot hold {name}, and it cannot be decoded")
        source.close()
        return Silence()
    tell(f"the sound is written as {encoder}: {kind} cannot hold {name}")
    writer = _Encode(_add(into, encoder, stream), mux)
    return _Track(source, stream, writer, tell, start_s=_picture_start_s(source))


def _picture_start_s(source: InputContainer) -> float:
    """Return the time of the first picture, seconds as the file counts them."""
    video = main_video(source)
    if video is None or not video.start_time or not video.time_base:
        return 0.0
    return float(video.start_time * video.time_base)


@dataclass(kw_only=True)
class _Clock:
    """Computes packet times in the result, which increase whatever the file states."""

    start_s: float
    """Time of the file's first picture, seconds."""
    offset_s: float = 0.0
    end_s: float | None = None
    """End of the previous packet, seconds."""

    def place(self, stated_s: float | None, duration_s: float) -> float:
        """Return a packet's start in seconds since the first picture."""
        expected_s = self.end_s if self.end_s is not None else 0.0
        at_s = expected_s if stated_s is None else stated_s - self.start_s + self.offset_s
        # Recordings put one behind the other start their clocks anew. A small step back is only a
        # late packet, which `_Copy` puts in order.
        if self.end_s is not None and at_s < self.end_s - _JUMP_BACK_S:
            self.offset_s += self.end_s - at_s
            at_s = self.end_s
        self.end_s = at_s + duration_s
        return at_s


class _Track:
    """Writes one stream; see `Sound`.

    Damage in the file ends the sound with a message, and nothing else.
    """

    def __init__(
        self,
        source: Any,
        stream: Any,
        writer: _Copy | _Encode,
        tell: Callable[[str], None],
        *,
        start_s: float = 0.0,
    ) -> None:
        self._source, self._stream, self._writer, self._tell = source, stream, writer, tell
        self._clock = _Clock(start_s=start_s)
        self._packets: Iterator[Any] = source.demux(stream)
        self._next: tuple[Any, float] | None = None
        self._open, self._written_s = True, 0.0
        self._guarded(self._advance)

    def write_until(self, time_s: float) -> None:
        """See `Sound`."""

        def work() -> None:
            while self._next is not None and self._next[1] <= time_s:
                packet, at_s = self._next
                end_s = at_s + float((packet.duration or 0) * packet.time_base)
                if at_s > -_PRIMING_S:
                    self._writer.write(packet, at_s)
                    self._written_s = max(end_s, 0.0)
                self._advance()

        self._guarded(work)

    def finish(self, end_s: float = float("inf")) -> None:
        """See `Sound`."""
        self.write_until(end_s)
        self._guarded(self._writer.finish)
        self._source.close()

    def _advance(self) -> None:
        self._next = None
        for packet in self._packets:
            if packet.size:  # an empty one ends the stream
                # Times of decoding never go back within a recording, and a file may state only one.
                stated = packet.dts if packet.dts is not None else packet.pts
                base = float(packet.time_base)
                stated_s = None if stated is None else stated * base
                self._next = packet, self._clock.place(stated_s, (packet.duration or 0) * base)
                return

    def _guarded(self, work: Callable[[], None]) -> None:
        if not self._open:
            return
        try:
            work()
        except _FAILURES as error:
            self._open, self._next = False, None
            self._tell(f"the sound ends at {self._written_s:.1f} s, where it is damaged ({error})")


class _WithoutPauses:
    """Refuses a packet behind a pause that AVI cannot hold: FFmpeg fails when the file is
    closed."""

    def __init__(self, mux: Mux) -> None:
        self._mux = mux
        self._last_s: float | None = None

    def __call__(self, packet: Any) -> None:
        """Mux a packet.

        Raises:
            ValueError: the pause before it is too long.
        """
        at_s = float(packet.dts * packet.time_base)
        pause_s = at_s - (at_s if self._last_s is None else self._last_s)
        if pause_s > _AVI_PAUSE_TICKS * float(packet.stream.time_base or packet.time_base):
            raise ValueError(f"it pauses for {pause_s:.0f} s, which AVI cannot hold")
        self._mux(packet)
        self._last_s = at_s


class _Copy:
    """Copies packets as they are, with increasing times."""

    def __init__(self, out: Any, mux: Mux) -> None:
        self._out, self._mux = out, mux
        self._last: int | None = None

    def write(self, packet: Any, at_s: float) -> None:
        """Mux one packet at ``at_s`` seconds."""
        base = packet.time_base
        # Muxers refuse times that stand still, which rounding to a coarse time base gives.
        dts = round(at_s / base)
        if self._last is not None:
            dts = max(dts, self._last + 1)
        # Codecs that reorder keep the distance between decoding and playing.
        ahead = packet.pts - packet.dts if packet.pts is not None and packet.dts is not None else 0
        packet.dts, packet.pts, self._last = dts, dts + max(ahead, 0), dts
        packet.stream = self._out
        self._mux(packet)

    def finish(self) -> None:
        """Do nothing: no packet is held back."""


class _Encode:
    """Decodes packets and encodes them again."""

    def __init__(self, out: Any, mux: Mux) -> None:
        self._out, self._mux = out, mux
        context = out.codec_context
        # Encoders such as AAC take frames of one size only; the resampler cuts them so.
        size = context.frame_size or None
        self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate, size)
        self._rate = context.sample_rate
        self._samples: int | None = None

    def write(self, packet: Any, at_s: float) -> None:
        """Encode one packet's sound; a packet that cannot be decoded is skipped."""
        wanted = max(round(at_s * self._rate), 0)
        # Forwards only: stepping back would write over samples that are written already.
        if self._samples is None or wanted - self._samples > _GAP_S * self._rate:
            self._samples = wanted
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in frames:
            # `_put` counts the times. The resampler would carry on the file's own, jumps included.
            frame.pts = None
            self._put(self._resampler.resample(frame))

    def finish(self) -> None:
        """Encode what resampler and encoder hold back."""
        self._put(self._resampler.resample(None))
        self._mux_all(self._out.encode(None))

    def _put(self, frames: list[Any]) -> None:
        for frame in frames:
            self._samples = self._samples or 0
            frame.pts, frame.time_base = self._samples, Fraction(1, self._rate)
            self._samples += frame.samples
            self._mux_all(self._out.encode(frame))

    def _mux_all(self, packets: list[Any]) -> None:
        for packet in packets:
            self._mux(packet)


def _holds(path: Path, kind: str, index: int) -> bool:
    """Whether a container takes a stream as it is.

    The stream is tried, since the libraries' own lists are incomplete.
    """
    try:
        with open_container(path) as source, av.open(io.BytesIO(), "w", format=kind) as trial:
            copy = _Copy(trial.add_stream_from_template(source.streams[index]), trial.mux)
            for number, packet in enumerate(source.demux(source.streams[index])):
                if number == _TRIAL_PACKETS or not packet.size:
                    break
                # Even times: the format is tried here, not what the file states about time.
                copy.write(packet, number * max(float((packet.duration or 0) * packet.time_base), 1e-3))
    except _FAILURES:
        return False
    return True


def _encoder(path: Path, kind: str, index: int) -> str | None:
    """Return the first encoder that works for the start of a stream; None: it cannot be decoded."""
    for name in _ENCODERS[kind]:
        try:
            with open_container(path) as source, av.open(io.BytesIO(), "w", format=kind) as trial:
                stream = source.streams[index]
                writer = _Encode(_add(trial, name, stream), trial.mux)
                for number, packet in enumerate(source.demux(stream)):
                    if number == _TRIAL_PACKETS or not packet.size:
                        break
                    writer.write(packet, number * 0.02)
                writer.finish()
        except _FAILURES:
            continue
        return name
    return None


def _add(into: OutputContainer, encoder: str, stream: Any) -> Any:
    """Add a stream of up to two channels at the sound's own rate."""
    context = stream.codec_context
    layout = "mono" if context.layout.nb_channels == 1 else "stereo"
    return into.add_stream(encoder, rate=context.sample_rate, layout=layout)
