"""Put XMP packets into pictures and MPEG-4 videos, and find them there (XMP specification, part
3)."""

from __future__ import annotations

import struct
import zlib
from typing import IO

from mimicam.engine.picture_header import PNG, header_size, jpeg_segments, picture_chunks

_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_PNG_FIRST_CHUNK_END = 33
"""Bytes of a PNG's signature and header."""
_JPEG_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_JFIF, _JPEG_APP1 = 0xE0, 0xE1
_WEBP_XMP = 0x04
"""Flag of an extended WebP that holds XMP."""
_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Identifier of the XMP box in MPEG-4 files."""
_BOXES_MAX, _PACKET_MAX = 100_000, 1 << 20
"""Limits of what is searched: boxes of a file, and bytes of a packet."""


def with_xmp(picture: bytes, packet: bytes) -> bytes:
    """Return a PNG, JPEG or WebP picture with an XMP packet; any other format as it is.

    ``picture``: as OpenCV wrote it, so without XMP.
    """
    if picture.startswith(PNG):
        body = b"iTXt" + _PNG_KEYWORD + b"\0\0\0\0" + packet
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return picture[:_PNG_FIRST_CHUNK_END] + chunk + picture[_PNG_FIRST_CHUNK_END:]
    if picture.startswith(b"\xff\xd8"):
        body = _JPEG_NAME + packet
        segment = struct.pack(">BBH", 0xFF, _JPEG_APP1, len(body) + 2) + body
        at = _end_of_jfif(picture)
        return picture[:at] + segment + picture[at:]
    return _webp_with(picture, packet) if _is_webp(picture) else picture


def xmp_of(picture: bytes) -> str:
    """Return the XMP packet of a PNG, JPEG or WebP picture; empty where there is none."""
    try:
        return _text(_packet_of(picture))
    except struct.error:  # cut off
        return ""


def append_xmp(file: IO[bytes], packet: bytes) -> None:
    """Add a box at the end of an MPEG-4 file, so that no offset in it changes."""
    file.seek(0, 2)
    file.write(struct.pack(">I", 8 + len(_BOX) + len(packet)) + b"uuid" + _BOX + packet)


def xmp_of_boxes(file: IO[bytes]) -> str:
    """Return the XMP packet of an MPEG-4 file; empty where there is none."""
    size = file.seek(0, 2)
    at = 0
    for _ in range(_BOXES_MAX):
        file.seek(at)
        head = file.read(32)
        if len(head) < 8:
            break
        length, kind = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) >= 16:  # the length follows in 64 bits
            length = struct.unpack_from(">Q", head, 8)[0]
        if kind == b"uuid" and head[8:24] == _BOX:
            file.seek(at + 24)
            return _text(file.read(min(max(length - 24, 0), _PACKET_MAX)))
        if not 8 <= length <= size - at:  # the last box, or no box at all
            break
        at += length
    return ""


def _packet_of(picture: bytes) -> bytes:
    if picture.startswith(PNG):
        texts = (content for kind, content in picture_chunks(picture, 8, ">") if kind == b"iTXt")
        found = next((text for text in texts if text.startswith(_PNG_KEYWORD)), b"")
        # Behind the keyword: two bytes on compression, then language and translated keyword.
        head = found[len(_PNG_KEYWORD) :]
        return b"" if head[:1] != b"\0" else head[2:].split(b"\0", 2)[-1]
    if picture.startswith(b"\xff\xd8"):
        for marker, at in jpeg_segments(picture):
            content = picture[at + 2 : at + struct.unpack_from(">H", picture, at)[0]]
            if marker == _JPEG_APP1 and content.startswith(_JPEG_NAME):
                return content[len(_JPEG_NAME) :]
    if _is_webp(picture):
        return next((content for kind, content in picture_chunks(picture, 12, "<") if kind == b"XMP "), b"")
    return b""


def _text(packet: bytes) -> str:
    return packet[:_PACKET_MAX].decode("utf-8", "replace")


def _is_webp(picture: bytes) -> bool:
    return picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"


def _end_of_jfif(picture: bytes) -> int:
    """Return where the XMP segment goes: behind JFIF's, which readers expect first."""
    marker, at = next(jpeg_segments(picture), (0, 2))
    return at + struct.unpack_from(">H", picture, at)[0] if marker == _JPEG_JFIF else 2


def _webp_with(picture: bytes, packet: bytes) -> bytes:
    """Wrap a simple WebP into the extended format (RFC 9649, 2.7), which has a place for XMP."""
    assert picture[12:16] != b"VP8X", "OpenCV writes the simple format"
    width, height = header_size(picture)
    extent = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + _chunk(b"VP8X", bytes([_WEBP_XMP, 0, 0, 0]) + extent)
    body += picture[12:] + _chunk(b"XMP ", packet)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
