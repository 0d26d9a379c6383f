"""Read picture files as pixels: upright, without alpha, not too large.

JPEG, PNG, WebP and BMP are supported. Any other content is an error that states the reason.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image

MAX_PIXELS = 50_000_000
"""Pixels. A larger picture is refused before it is decoded: it is a mistake or an attack."""
MAX_SIDE = 2048
"""Pixels. Larger pictures are reduced, since the crop has 256 pixels."""
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(path: Path) -> Image:
    """Read a picture file as RGB; see `decode_picture`.

    Raises:
        EngineError: missing, empty, not a picture, or too large.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the path of a picture")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): give another picture") from error
    return decode_picture(data, name=str(path))


def decode_picture(
    data: bytes, *, name: str = "the picture", max_pixels: int = MAX_PIXELS, max_side: int = MAX_SIDE
) -> Image:
    """Decode a picture to RGB uint8 ``[H, W, 3]``.

    EXIF rotation is applied, alpha is blended over neutral grey, and the longer side is reduced to
    ``max_side``.

    The size is read from the header before anything is decoded: a bomb is small as a file and huge
    in memory.

    Args:
        data: the file's bytes.
        name: name in error messages.
        max_pixels: a larger picture is refused.
        max_side: a longer side is reduced to this, in pixels.

    Raises:
        EngineError: empty, not a picture, cut off, or too large.
    """
    if not data:
        raise EngineError(f"{name} is empty: give a JPEG, PNG or WebP picture")
    array = np.frombuffer(data, np.uint8)
    _check_pixels(name, array, max_pixels)
    decoded = None if _is_cut_off(data) else _decode(array, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise EngineError(f"{name} is a broken picture, or is cut off: give a JPEG, PNG or WebP picture")
    if decoded.ndim == 3 and decoded.shape[2] == 4:
        image = _over_grey(decoded)  # formats with alpha carry no EXIF rotation that OpenCV would apply
    else:
        image = np.asarray(_decode(array, cv2.IMREAD_COLOR))  # 8 bits, three channels, EXIF rotation applied
    return _reduced(np.ascontiguousarray(image[:, :, ::-1]), max_side)


def _reduced(image: Image, max_side: int) -> Image:
    longest = max(image.shape[:2])
    if longest <= max_side:
        return image
    height, width = (max(round(side * max_side / longest), 1) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _check_pixels(name: str, data: np.ndarray, limit: int) -> None:
    """Refuse too many pixels by the header alone: a bomb is small on disk and huge in memory."""
    width, height = _header_size(data)
    if width * height == 0:
        raise EngineError(f"{name} is not a picture, or is cut off: give a JPEG, PNG or WebP picture")
    if width * height > limit:
        raise EngineError(
            f"{name} is {width}x{height} pixels: give one under {limit // 1_000_000} megapixels"
        )


def _header_size(data: np.ndarray) -> tuple[int, int]:
    """Return (width, height) from a PNG, JPEG, WebP or BMP header; (0, 0) if it is none of them."""
    head = bytes(data[:64])
    if head[:8] == _PNG:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_size(head)
    if head[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if head[:2] == b"BM":
        return tuple(abs(int.from_bytes(head[at : at + 4], "little", signed=True)) for at in (18, 22))  # type: ignore[return-value]
    return 0, 0


def _is_cut_off(data: bytes) -> bool:
    """Whether a PNG lacks its last chunk or a BMP is shorter than it declares.

    Their decoders would print warnings for these.
    """
    if data[:2] == b"BM":
        return int.from_bytes(data[2:6], "little") > len(data)
    return data[:8] == _PNG and b"IEND" not in data


def _webp_size(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: np.ndarray) -> tuple[int, int]:
    """Return the size in the frame header, which may follow megabytes of other data."""
    at = 2
    while at + 9 < data.size and data[at] == 0xFF:
        marker = int(data[at + 1])
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = bytes(data[at + 5 : at + 7]), bytes(data[at + 7 : at + 9])
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        else:
            at += 2 + int.from_bytes(bytes(data[at + 2 : at + 4]), "big")
    return 0, 0


def _decode(data: np.ndarray, flags: int) -> np.ndarray | None:
    """Decode the data; None where OpenCV cannot read it or refuses its size."""
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def _over_grey(decoded: np.ndarray) -> Image:
    """Blend BGRA of 8 or 16 bits over mid grey."""
    if decoded.dtype == np.uint16:
        decoded = (decoded // 257).astype(np.uint8)
    alpha = decoded[:, :, 3:].astype(np.float32) / 255
    return (decoded[:, :, :3] * alpha + 128 * (1 - alpha)).round().astype(np.uint8)
