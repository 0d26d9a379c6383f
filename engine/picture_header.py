"""Read a picture file's size and orientation from its header, before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mimicam.engine.heif import heif_size, is_heif

PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
"""Tags of TIFF and EXIF."""
_TAGS_MAX = 1000


def header_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) as stored; (0, 0) if no known format, or cut off."""
    try:
        return _size(data)
    except struct.error:
        return 0, 0


def orientation(data: bytes) -> int:
    """Return how the camera was held, 1 to 8 as in EXIF; 1 where the file states nothing of use.

    For a TIFF too it is 1: OpenCV sets these upright whether asked to or not.
    """
    try:
        turn = _tags(_exif(data).removeprefix(b"Exif\0\0")).get(_ORIENTATION, 1)
    except struct.error:
        return 1
    return turn if 1 <= turn <= 8 else 1


def _size(data: bytes) -> tuple[int, int]:
    if data[:8] == PNG:
        return struct.unpack_from(">II", data, 16)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:2] == b"BM":
        width, height = struct.unpack_from("<ii", data, 18)
        # A negative height means that rows are stored from the top.
        return abs(width), abs(height)
    if data[:6] in GIF:
        return struct.unpack_from("<HH", data, 6)
    if data[:4] in TIFF:
        tags = _tags(data)
        return tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    return heif_size(data) if is_heif(data) else (0, 0)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    # Sizes are stored minus one, in 24 bits here and in 14 bits of VP8L (RFC 9649).
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    # The upper two bits are a scale for players.
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return the size in the frame header, which may follow megabytes of other data."""
    for marker, at in jpeg_segments(data):
        # Frame headers of all codings. The other three in this range are Huffman tables, an
        # extension and arithmetic conditioning (ITU T.81, table B.1).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return 0, 0


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and start of each segment's content, its length included."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        yield data[at + 1], at + 2
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _exif(data: bytes) -> bytes:
    """Return the EXIF data of a PNG, WebP or JPEG; empty if it has none."""
    if data[:2] == b"\xff\xd8":
        contents = (
            data[at + 2 : at + struct.unpack_from(">H", data, at)[0]]
            for marker, at in jpeg_segments(data)
            if marker == 0xE1
        )
        return next((content for content in contents if content.startswith(b"Exif\0\0")), b"")
    if data[:8] == PNG:
        return next((content for kind, content in picture_chunks(data, 8, ">") if kind == b"eXIf"), b"")
    if data[:4] == b"RIFF":
        return next((content for kind, content in picture_chunks(data, 12, "<") if kind == b"EXIF"), b"")
    return b""


def picture_chunks(data: bytes, at: int, order: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG (``>``: length, type, content, checksum) or of a RIFF (``<``)."""
    while at + 8 <= len(data):
        if order == ">":
            length, kind = struct.unpack_from(">I4s", data, at)
            step = 12 + length
        else:
            kind, length = struct.unpack_from("<4sI", data, at)
            # RIFF pads contents to even lengths.
            step = 8 + length + length % 2
        yield kind, data[at + 8 : at + 8 + length]
        at += step


def _tags(tiff: bytes) -> dict[int, int]:
    """Return the first directory's tags that are one integer."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return {}
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    # The file's own word, which may be 65,535: no picture has that many tags.
    count = min(struct.unpack_from(order + "H", tiff, start)[0], _TAGS_MAX)
    tags = {}
    for index in range(count):
        at = start + 2 + 12 * index
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, at)
        if values == 1 and kind in (3, 4):
            tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at + 8)[0]
    return tags
