"""Turn an upload into a picture, or say why not. Nothing is written to disk."""

from __future__ import annotations

import cv2
import numpy as np

from engine.errors import EngineError
from engine.stages.track import Region
from engine.types import Image

_KEPT_SIDE = 1280
"""Larger pictures are reduced: the crop is 256 pixels, the canvas at most 960."""
_THUMB_SIDE = 192
_AROUND_FACE = 1.5
"""Side of a thumbnail over the side of the region that the landmark network looks at."""
_JPEG_QUALITY = 88
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that begin with the picture's size (ITU-T T.81, table B.1)."""


def decode(data: bytes, *, max_pixels: int) -> Image:
    """A JPEG, PNG or WebP as RGB uint8 ``[H, W, 3]``, at most 1280 pixels a side.

    The size is read from the header before anything is decoded: a bomb is small as a file and huge in memory.

    Raises:
        EngineError: another format, too many pixels, or cut off.
    """
    width, height = declared_size(data)
    if width * height == 0:
        raise EngineError("this is no JPEG, PNG or WebP picture: choose another file")
    if width * height > max_pixels:
        limit = max_pixels // 1_000_000
        raise EngineError(f"this picture has {width}x{height} pixels: choose one under {limit} megapixels")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise EngineError("this picture is damaged or cut off: choose another file")
    return np.ascontiguousarray(_reduced(image, _KEPT_SIDE)[:, :, ::-1])


def thumbnail(image: Image, face: Region | None) -> bytes:
    """A square JPEG around the face, or around the picture's upper middle, where faces are."""
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 4
    if face is not None:
        side = min(side, round(face.size_px * _AROUND_FACE))
        left = min(max(0, round(face.x_px - side / 2)), width - side)
        top = min(max(0, round(face.y_px - side / 2)), height - side)
    square = image[top : top + side, left : left + side]
    small = cv2.resize(square, (_THUMB_SIDE, _THUMB_SIDE), interpolation=cv2.INTER_AREA)
    ok, jpeg = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert ok, "OpenCV encodes every RGB picture as JPEG"
    return jpeg.tobytes()


def declared_size(data: bytes) -> tuple[int, int]:
    """(width, height) that the header of a JPEG, PNG or WebP declares; (0, 0) when it is none of them."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return 0, 0


def _reduced(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])  # a line has one pixel left
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _webp_size(data: bytes) -> tuple[int, int]:
    """WebP container, RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill bytes may come before a marker
            at += 1
        elif data[at + 1] in _FRAME_MARKERS:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return 0, 0
