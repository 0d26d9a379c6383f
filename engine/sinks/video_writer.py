"""Write a video so that a reader finds either the whole file or none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import IO, Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from mimicam.engine.errors import EngineError
from mimicam.engine.files import Aside
from mimicam.engine.provenance import Provenance
from mimicam.engine.types import Image
from mimicam.engine.video_container import Matrix, usual_matrix
from mimicam.engine.xmp import append_xmp

TIME_BASE = Fraction(1, 60_000)
"""Ticks of the written times: fine enough for every usual rate, and the most that MPEG-4 takes is
65,535."""
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
_H264 = ("libx264", "h264_videotoolbox", "libopenh264")
WITH_XMP_BOX = ("mp4", "mov")
"""Containers at whose end XMP is written."""
_MPEG4_BITS_PER_PIXEL = 0.2
LIVE = {"preset": "veryfast", "crf": "18", "tune": "zerolatency"}
"""Options of libx264 for recordings, which may take little time."""
OFFLINE = {"preset": "veryfast", "crf": "12"}
"""Options of libx264 for edited videos, most of which is to stay as it was: 45.3 dB on the bundled
clip (2026-11)."""
LOSSLESS = "ffv1"
"""Encoder that keeps every sample; it needs Matroska."""
_FFV1 = {"level": "3", "slicecrc": "1"}
"""Version 3 of the format: checksums tell a damaged slice from a good one."""
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_BT709_PRIMARIES, _BT709_CURVE = 1, 1
"""Numbers in files (ITU-T H.273, tables 2 and 3). Screens show this curve as they show sRGB."""

OpenFile = Callable[[Path], IO[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Storage and colours of a video's pixels, as its file declares them."""

    pix_fmt: str = "yuv420p"
    """FFmpeg's name of the pixel format; the encoder has to support it."""

    sample_aspect: Fraction = Fraction(1)
    """Width of a pixel divided by its height."""
    colorspace: int = 2
    """FFmpeg's number of the matrix from RGB to YUV; 2 is undeclared. RGB pictures are converted by
    BT.601."""
    color_range: int = 0
    """1 limited, 2 full, 0 undeclared, and then limited."""
    primaries: int = 2
    transfer: int = 2


PLAIN = Look()
"""Eight bits, square pixels, colours undeclared."""


def open_plain(path: Path) -> IO[bytes]:
    """Open the temporary file, by default."""
    return path.open("w+b")


def container_format(path: Path) -> str:
    """The container that a file name asks for.

    Raises:
        EngineError: none that is written here.
    """
    found = CONTAINERS.get(path.suffix.lower())
    if found is None:
        raise EngineError(
            f"{path} names no video format that can be written; end it in {', '.join(CONTAINERS)}"
        )
    return found


def h264_encoder() -> str | None:
    """The H.264 encoder that this PyAV has, or None."""
    return next((name for name in _H264 if _has_encoder(name)), None)


class VideoWriter:
    """H.264, else MPEG-4, in a temporary file that ``finish`` renames and ``abort`` removes."""

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: float,
        encoder: str | None = None,
        provenance: Provenance | None = None,
        look: Look = PLAIN,
        x264: Mapping[str, str] = LIVE,
        open_file: OpenFile = open_plain,
    ) -> None:
        """Open the temporary file.

        Args:
            path: where the finished video goes; its suffix chooses the container.
            size: width, height of the pictures; odd ones are written one pixel smaller.
            fps: nominal rate; each picture still carries its own time.
            encoder: FFmpeg's name of an encoder; by default H.264 if there is one, else MPEG-4.
            provenance: marks of the file: its metadata, and XMP where the container has a place for
                it.
            look: shape of the pixels and coding of the colours.
            x264: options of libx264, as `LIVE` or `OFFLINE`; other encoders have a bit rate.
            open_file: opens the temporary file; for tests.

        Raises:
            EngineError: the folder is missing or not writable, the name has no known suffix.
        """
        self.path = path
        kind = container_format(path)
        try:
            # The temporary file lies in the same folder, so that `finish` can rename it.
            self._aside = Aside(path)
            self._file = open_file(self._aside.part)
        except OSError as error:
            raise EngineError(
                f"cannot write {path} ({error.strerror}); choose a folder that exists and may be written to"
            ) from error
        self.container = av.open(self._file, "w", format=kind)
        self._packet = provenance.xmp if provenance is not None and kind in WITH_XMP_BOX else b""
        self.container.metadata.update({} if provenance is None else provenance.tags)
        self.encoder = encoder or h264_encoder() or "mpeg4"
        # AVI has a constant rate, which is that of the ticks.
        rate = Fraction(fps).limit_denominator(1001)
        self._tick_s = 1 / rate if kind == "avi" else TIME_BASE
        self._matrix = usual_matrix(*size)
        self._to_yuv = VideoReformatter()
        self._look, self._x264 = look, x264
        self._stream = self._add_stream(size, rate)
        self._last_pts = -1
        self._open = True

    def write(self, image: Image, time_s: float) -> None:
        """Encode one picture, shown from ``time_s`` on.

        Args:
            image: uint8 ``[H, W, 3]``, RGB.
            time_s: seconds since the start; moved forward by one tick when it is not later than the
                last.

        Raises:
            EngineError: the disk is full or gone; the temporary file is already removed.
        """
        rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = self._to_yuv.reformat(
            rgb,
            self._stream.width,
            self._stream.height,
            "yuv420p",
            dst_colorspace=self._matrix.swscale,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        frame.colorspace, frame.color_range = self._matrix.code, ColorRange.MPEG
        self.write_frame(frame, time_s)

    def write_frame(self, frame: av.VideoFrame, time_s: float) -> None:
        """Encode one frame in any pixel format; its own times are replaced. See `write`."""
        frame.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
        # Times must increase by at least a tick, or the muxer refuses the frame.
        frame.pts = self._last_pts = max(round(time_s / self._tick_s), self._last_pts + 1)
        frame.time_base = self._tick_s
        self._guarded(lambda: self.container.mux(self._stream.encode(frame)))

    def mux_sound(self, packet: Any) -> None:
        """Add a packet of a sound stream that was added to ``container``.

        Raises:
            EngineError: the disk is full; as for ``write``. av.error.FFmpegError: the container
                does not take this packet; the file goes on without it.
        """
        try:
            self.container.mux(packet)
        except OSError as error:
            if error.errno in _NO_SPACE:
                self._guarded(partial(_raise, error))
            raise

    def finish(self, provenance: Provenance | None = None) -> None:
        """Complete the file and give it its name, over an older file of that name.

        ``provenance``: what has become known of the marks since the file was opened. Only XMP is
        written that late, so other containers keep the first ones.

        Raises:
            EngineError: as for ``write``; or another program wrote a file of that name meanwhile,
                which stays: then the video is complete under another name.
        """

        def complete() -> None:
            self.container.mux(self._stream.encode(None))
            self.container.close()
            if self._packet:
                append_xmp(self._file, self._packet if provenance is None else provenance.xmp)
            self._file.close()
            self.path = self._aside.commit_beside_others()

        if not self._open:
            return
        wanted = self.path
        self._guarded(complete)
        self._open = False
        if self.path != wanted:
            raise EngineError(
                f"another program wrote {wanted} meanwhile: this video is {self.path}; choose different names"
            )

    def abort(self) -> None:
        """Leave nothing behind. Harmless after ``finish``."""
        if not self._open:
            return
        self._open = False
        for close in (self.container.close, self._file.close):
            try:
                close()
            except (OSError, av.error.FFmpegError):
                continue  # the same full disk again: the file goes anyway
        self._aside.discard()

    def _add_stream(self, size: tuple[int, int], rate: Fraction) -> VideoStream:
        stream = self.container.add_stream(self.encoder, rate=rate)
        if not isinstance(stream, VideoStream):
            raise ValueError(f"encoder: {self.encoder} is not a video encoder")
        stream.width, stream.height = size[0] & ~1, size[1] & ~1  # 4:2:0 has no odd sizes
        stream.pix_fmt = self._look.pix_fmt
        stream.codec_context.time_base = self._tick_s
        self._declare(stream.codec_context)
        if self.encoder == "libx264":
            stream.options = dict(self._x264)
        elif self.encoder == LOSSLESS:
            stream.options = dict(_FFV1)
        else:
            # Encoders other than x264 have no constant quality here, so the rate follows the size.
            stream.bit_rate = round(_MPEG4_BITS_PER_PIXEL * size[0] * size[1] * rate)
        return stream

    def _declare(self, context: Any) -> None:
        look = self._look
        if look == PLAIN:  # pictures: converted by `write`
            _tag_colours(context, self._matrix)
            return
        if look.sample_aspect != PLAIN.sample_aspect:
            context.sample_aspect_ratio = look.sample_aspect
        if look != PLAIN:
            context.colorspace, context.color_range = look.colorspace, look.color_range
            context.color_primaries, context.color_trc = look.primaries, look.transfer

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, av.error.FFmpegError) as error:
            self.abort()
            if error.errno in _NO_SPACE:
                raise EngineError(
                    f"the disk is full while writing {self.path}; free some space or choose another folder"
                ) from error
            raise EngineError(
                f"{self.path} cannot be written ({error.strerror}); choose another folder or format"
            ) from error


def _tag_colours(context: VideoCodecContext, matrix: Matrix) -> None:
    """State what the pixels mean: limited range, this matrix, sRGB's primaries, BT.709's curve."""
    context.color_range = ColorRange.MPEG
    context.colorspace = matrix.code
    context.color_primaries = _BT709_PRIMARIES
    context.color_trc = _BT709_CURVE


def supports(encoder: str, pix_fmt: str) -> bool:
    """Whether an encoder of this PyAV takes a pixel format."""
    formats = av.codec.Codec(encoder, "w").video_formats or []
    return any(each.name == pix_fmt for each in formats)


def _raise(error: OSError) -> None:
    raise error


def _has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
