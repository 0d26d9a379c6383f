"""Join finished segments without encoding them again, with the sound of the source."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mimicam.engine.batch.units import Segment, SegmentFigures
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.provenance import EDITED, Provenance
from mimicam.engine.sinks.video_writer import WITH_XMP_BOX, container_format
from mimicam.engine.sound import open_sound
from mimicam.engine.xmp import append_xmp


def join_segments(
    segments: Sequence[Segment],
    out: Path,
    *,
    end_s: float,
    provenance: Provenance = EDITED,
    tell: Callable[[str], None] = lambda _: None,
) -> list[SegmentFigures]:
    """Write the result of a job, which appears when it is complete; return its segments' figures.

    Args:
        segments: all of them, finished, in order.
        out: video to write.
        end_s: time at which the sound ends; infinite for the source's own end.
        provenance: marks of the result.
        tell: receives one line if the sound cannot be copied as it is.

    Raises:
        EngineError: a segment is missing or differs in form, or the file cannot be written.
    """
    found = [segment.figures for segment in segments]
    figures = [each for each in found if each is not None]
    if len(figures) < len(segments):
        raise EngineError("a segment vanished meanwhile: run the batch again")
    try:
        with write_atomically(out) as part:
            with av.open(str(part), "w", format=container_format(out)) as result:
                result.metadata.update(provenance.tags)
                _write(segments, figures, result, end_s=end_s, tell=tell)
            # Once the container is closed, which writes its index: the box goes behind it.
            if container_format(out) in WITH_XMP_BOX:
                with part.open("r+b") as file:
                    append_xmp(file, provenance.xmp)
    except av.error.FFmpegError as error:
        raise EngineError(f"{out} cannot be joined ({error.strerror}): remove its segments") from error
    return figures


def _write(
    segments: Sequence[Segment],
    figures: Sequence[SegmentFigures],
    result: OutputContainer,
    *,
    end_s: float,
    tell: Callable[[str], None],
) -> None:
    with av.open(str(segments[0].path)) as first:
        stream = result.add_stream_from_template(first.streams.video[0])
        # The stream takes its parameter sets from the first segment alone. A segment of another
        # encoder would be decoded with them, into broken pictures: `_packets` compares.
        head = first.streams.video[0].codec_context.extradata
    sound = open_sound(segments[0].job.source, result, result.mux, tell)
    for segment, each in zip(segments, figures, strict=True):
        with closing(_packets(segment.path, each.start_s, head)) as packets:
            for packet in packets:
                assert packet.pts is not None, "packets without a time were left out"
                # Read before mux, which rescales the packet's times to the result's time base.
                time_s = float(packet.pts * packet.time_base)
                packet.stream = stream
                result.mux(packet)
                sound.write_until(time_s)
    sound.finish(end_s)


def _packets(path: Path, start_s: float, head: bytes | None) -> Generator[Packet[VideoStream], None, None]:
    """Yield the packets of a segment at their times in the source."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        if video.codec_context.extradata != head:
            raise EngineError(
                f"{path.name} was encoded by another version: remove it and run the batch again"
            )
        assert video.time_base is not None, "a stream of a file has a time base"
        offset = round(Fraction(start_s) / video.time_base)
        for packet in container.demux(video):
            if packet.pts is None or packet.dts is None:
                continue  # the end of the stream
            packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
            yield packet
