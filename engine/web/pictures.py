"""Turn an upload into a picture, or say why not. Nothing is written to disk."""

from __future__ import annotations

import cv2

from mimicam.engine.face.tracker import Region
from mimicam.engine.picture_file import decode_picture
from mimicam.engine.types import Image

_KEPT_SIDE = 1280
"""Larger pictures are reduced: the crop is 256 pixels, the canvas at most 960."""
_THUMB_SIDE = 192
_AROUND_FACE = 1.5
"""Side of a thumbnail over the side of the region that the landmark network looks at."""
_JPEG_QUALITY = 88


def decode(data: bytes, *, max_pixels: int) -> Image:
    """An upload as RGB uint8 ``[H, W, 3]``, at most 1280 pixels a side; see `engine.picture_file.decode_picture`.

    Raises:
        EngineError: not a picture, too many pixels, or cut off.
    """
    return decode_picture(data, name="this picture", max_pixels=max_pixels, max_side=_KEPT_SIDE)


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
