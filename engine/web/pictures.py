"""Decodes uploads and makes thumbnails. Nothing is written to disk."""

from __future__ import annotations

import cv2

from mimicam.engine.face.tracker import Region
from mimicam.engine.picture_file import decode_picture
from mimicam.engine.types import Image

_KEPT_SIDE = 1280
"""Longest side in pixels. Larger uploads are reduced: the crop is 256 pixels, the canvas 960."""
_THUMB_SIDE = 192
_AROUND_FACE = 1.5
"""Side of a thumbnail divided by the side of the landmark network's region."""
_JPEG_QUALITY = 88


def decode(data: bytes, *, max_pixels: int) -> Image:
    """Decode an upload to RGB uint8 ``[H, W, 3]`` of at most 1280 pixels a side.

    Raises:
        EngineError: it is not a picture, has too many pixels, or is truncated.
    """
    return decode_picture(data, name="this file", max_pixels=max_pixels, max_side=_KEPT_SIDE)


def thumbnail(image: Image, face: Region | None) -> bytes:
    """Encode a square JPEG around the face. None: the picture's upper middle is taken."""
    height, width = image.shape[:2]
    side = min(height, width)
    # A quarter, not the middle: in a portrait the face is in the upper half.
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
