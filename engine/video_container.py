"""Read what a video file declares: the stream to show, and the meaning of its pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from mimicam.engine.display_matrix import upright
from mimicam.engine.types import Image

_HD_LINES, _HD_COLUMNS = 576, 1280
"""Pixels. Players decode larger pictures without a tag as BT.709, others as BT.601 (mpv,
browsers)."""
_TINY_PX = 16
"""Side of the copy of a frame from which side data are read."""
_ASPECT_MAX = 4.0
"""Pixels that are more than four times as wide as high, or the reverse, are a wrong entry."""
_NOT_THE_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""By the number that the file states (ITU-T H.273, table 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A conversion between RGB and YCbCr."""

    swscale: Colorspace
    """Name in PyAV."""
    code: int
    """Number in files (ITU-T H.273, table 4)."""


BT709 = Matrix(swscale=Colorspace.ITU709, code=1)
BT601 = Matrix(swscale=Colorspace.ITU601, code=6)


def open_container(path: Path) -> InputContainer:
    """Open a file for reading. Its name is taken literally, and nothing but files is opened.

    Raises:
        av.error.FFmpegError, OSError: it cannot be opened.
    """
    # Without the protocol, FFmpeg takes "talk:1.mp4" for an address. Playlists name addresses.
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"})


def main_video(container: InputContainer) -> VideoStream | None:
    """Return the stream that a player shows: the default one, the largest of several; no cover."""
    films = [stream for stream in container.streams.video if not stream.disposition & _NOT_THE_FILM]

    def rank(stream: VideoStream) -> tuple[bool, int]:
        context: Any = stream.codec_context  # None where the codec is unknown
        pixels = 0 if context is None else context.width * context.height
        return bool(stream.disposition & Disposition.default), pixels

    return max(films, key=rank, default=None)


def usual_matrix(width: int, height: int) -> Matrix:
    """Return the matrix that players assume where a file states none."""
    return BT709 if width >= _HD_COLUMNS or height > _HD_LINES else BT601


class PictureReader:
    """Converts decoded frames to upright RGB pictures with square pixels, all of one size."""

    def __init__(self, stream: VideoStream) -> None:
        self._aspect = _pixel_aspect(stream)
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()
        self._display_matrix = (1, 0, 0, 1)
        self._rotation: int | None = None

    def __call__(self, frame: VideoFrame) -> Image:
        """Convert a frame; later ones get the size of the first."""
        self._size = self._size or _square(frame.width, frame.height, self._aspect)
        image = to_rgb(
            self._reformatter,
            frame,
            self._size,
            code=int(frame.colorspace),
            usual=usual_matrix(frame.width, frame.height).swscale,
            full_range=frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"),
        )
        # Only where it changes; see `_display_matrix`.
        if frame.rotation != self._rotation:
            self._rotation, self._display_matrix = frame.rotation, _display_matrix(frame)
        return upright(image, self._display_matrix)


def to_rgb(
    reformatter: VideoReformatter,
    frame: VideoFrame,
    size: tuple[int, int],
    *,
    code: int,
    usual: Colorspace,
    full_range: bool,
) -> Image:
    """Convert a decoded frame to RGB.

    Args:
        reformatter: keeps what it has prepared for frames of the same kind.
        frame: as the decoder returns it.
        size: width, height of the result.
        code: number of the matrix (ITU-T H.273, table 4).
        usual: matrix to use where that number means none.
        full_range: whether luma goes from 0 to 255, rather than from 16 to 235.
    """
    colours: dict[str, int] = {}
    if not frame.format.is_rgb:
        colours = {
            "src_colorspace": _MATRICES.get(code, usual),
            "src_color_range": ColorRange.JPEG if full_range else ColorRange.MPEG,
            "dst_color_range": ColorRange.JPEG,
        }
    rgb = reformatter.reformat(frame, *size, "rgb24", **colours)
    image: Image = rgb.to_ndarray()  # type: ignore[assignment]
    return image


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    # PyAV's side data and their frame refer to each other, and stay until Python collects cycles:
    # 163 MB for 19 seconds of 640x360. A tiny copy stays instead, since one frame for each pass
    # through a looped clip was 1 MB a minute (2026-11).
    tiny = frame.reformat(_TINY_PX, _TINY_PX)
    entries: Any = tiny.side_data  # PyAV's types say that iterating gives names
    for entry in entries:
        if entry.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(entry))
            return (a, b, c, d)
    return (1, 0, 0, 1)


def _pixel_aspect(stream: VideoStream) -> float:
    """Return a pixel's width divided by its height; 1 where the file states nothing of use."""
    stated = float(stream.sample_aspect_ratio or 0)
    return stated if 1 / _ASPECT_MAX <= stated <= _ASPECT_MAX else 1.0


def _square(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Return the size with square pixels; the shorter side of a pixel grows, so no detail is
    lost."""
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
