"""Read picture files as pixels: upright, without alpha, not too large.

JPEG, PNG, WebP, HEIC, AVIF, GIF (its first picture), TIFF and BMP are supported, whatever the name.
Any other content is an error that states the reason.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.display_matrix import upright
from mimicam.engine.errors import EngineError
from mimicam.engine.heif import decode_heif, is_heif
from mimicam.engine.picture_header import GIF, PNG, header_size, orientation
from mimicam.engine.types import Image

MAX_PIXELS = 50_000_000
"""Pixels. A larger picture is refused before it is decoded: it is a mistake or an attack."""
MAX_BYTES = 500_000_000
"""Bytes of a file: enough for `MAX_PIXELS` of 16 bits with alpha, uncompressed."""
MAX_SIDE = 2048
"""Pixels. Larger pictures are reduced, since the crop has 256 pixels."""
READABLE = "a JPEG, PNG or WebP picture (HEIC, AVIF, GIF, TIFF and BMP are read too)"
PICTURE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .jif .webp .bmp .avif .heic .heif .hif .tif .tiff".split()
)
"""Names of pictures. A GIF is a video as a driver, and a picture as a portrait."""
_STRIP_ROWS = 256
_TURNS = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""EXIF orientations as `upright` takes them."""


def read_picture(path: Path) -> Image:
    """Read a picture file as RGB; see `decode_picture`.

    Raises:
        EngineError: missing, empty, not a picture, or too large.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the path of a picture")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EngineError(f"{path} has more than {MAX_BYTES // 1_000_000} MB: give a smaller picture")
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
        raise EngineError(f"{name} is empty: give {READABLE}")
    _check_pixels(name, data, max_pixels)
    image = _decode(data, max_pixels)
    if image is None:
        raise EngineError(f"{name} is a broken picture, or is cut off: give {READABLE}")
    return _reduced(image, max_side)


def _check_pixels(name: str, data: bytes, limit: int) -> None:
    """Refuse too many pixels by the header alone: a bomb is small on disk and huge in memory."""
    width, height = header_size(data)
    if width * height == 0:
        raise EngineError(f"{name} is not a picture, or is cut off: give {READABLE}")
    if width * height > limit:
        raise EngineError(
            f"{name} is {width}x{height} pixels: give one under {limit // 1_000_000} megapixels"
        )


def _decode(data: bytes, max_pixels: int) -> Image | None:
    """Decode to upright RGB without alpha; None where the file is broken."""
    if _is_cut_off(data):
        return None
    if is_heif(data):
        try:
            image, alpha = decode_heif(data, max_pixels)
        except ValueError:
            return None
        return image if alpha is None else _over_grey(np.dstack([image, np.rint(alpha * 255)]))
    decoded = _first_of_gif(data, max_pixels) if data[:6] in GIF else _by_opencv(data)
    if decoded is None:
        return None
    flat = _over_grey(decoded) if decoded.shape[2] == 4 else decoded
    return upright(flat[:, :, ::-1], _TURNS[orientation(data)])


def _by_opencv(data: bytes) -> np.ndarray | None:
    """Return BGR of 8 bits, or BGRA of 8 or 16 bits, as it is stored."""
    array = np.frombuffer(data, np.uint8)
    try:
        # Orientation is applied later, together with HEIF's, by one function.
        decoded = cv2.imdecode(array, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is not None and decoded.ndim == 3 and decoded.shape[2] == 4:
            return decoded
        if decoded is None:
            return None
        del decoded  # a picture of 16 bits is large: not both at once
        return cv2.imdecode(array, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _first_of_gif(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Return the first picture of a GIF, BGRA."""
    import av

    try:
        with av.open(
            io.BytesIO(data), "r", format="gif", options={"max_pixels": str(max_pixels)}
        ) as container:
            frame = next(container.decode(video=0), None)
            return None if frame is None else frame.to_ndarray(format="bgra")
    except (av.error.FFmpegError, ValueError):
        return None


def _reduced(image: Image, max_side: int) -> Image:
    longest = max(image.shape[:2])
    if longest <= max_side:
        return image
    height, width = (max(round(side * max_side / longest), 1) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _is_cut_off(data: bytes) -> bool:
    """Whether a PNG or GIF lacks its end, or a BMP is shorter than it declares.

    Their decoders would print warnings, or return half a picture.
    """
    if data[:2] == b"BM":
        return int.from_bytes(data[2:6], "little") > len(data)
    if data[:6] in GIF:
        return data.rstrip(b"\0")[-1:] != b";"
    return data[:8] == PNG and b"IEND" not in data


def _over_grey(decoded: np.ndarray) -> Image:
    """Blend colours with alpha, 8 or 16 bits, over mid grey, without large temporary arrays."""
    out = np.empty((*decoded.shape[:2], 3), np.uint8)
    for top in range(0, decoded.shape[0], _STRIP_ROWS):
        strip = decoded[top : top + _STRIP_ROWS]
        if strip.dtype == np.uint16:
            # 65,535 / 257 = 255: the exact scale from 16 to 8 bits.
            strip = strip // 257
        # Strip by strip: as floats, 50 megapixels would take a gigabyte.
        alpha = strip[:, :, 3:].astype(np.float32) / 255
        out[top : top + _STRIP_ROWS] = (strip[:, :, :3] * alpha + 128 * (1 - alpha)).round()
    return out
