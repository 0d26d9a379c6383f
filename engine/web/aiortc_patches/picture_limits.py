"""Decode no picture that is larger than a camera's.

aiortc decodes pictures of any size. A VP8 key frame of 8192x8192 has 112 kB, and took 916 MB at
once (2026-11).

Here the size of a VP8 picture is read from its header, and `TooLarge` takes the picture's place in
the track. FFmpeg refuses H.264 pictures above `MAX_DECODED_PIXELS`; smaller ones are decoded, and
the track's reader compares them with `MAX_PIXELS`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from aiortc import rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterFrame

from mimicam.engine.web.aiortc_patches.jitter_buffer import VP8_KEY

MAX_SIDE, MAX_PIXELS = 1920, 1920 * 1088
"""Full HD in either orientation; codecs pad 1080 lines to 1088."""
MAX_DECODED_PIXELS = 4096 * 2304
"""Size of the largest H.264 picture that is decoded, so that its sender can be told."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Stands for a picture that was not decoded."""

    width: int
    height: int


def install() -> None:
    """Use `LimitedDecoder` in receivers that are made from now on."""
    setattr(rtcrtpreceiver, "get_decoder", LimitedDecoder)  # noqa: B010 - types do not allow it


def is_too_large(picture: Any) -> bool:
    """Whether a picture, or what stands for it, is larger than the studio takes."""
    return max(picture.width, picture.height) > MAX_SIDE or picture.width * picture.height > MAX_PIXELS


class LimitedDecoder:
    """aiortc's decoder of a codec, with limits on the size of pictures."""

    def __init__(self, codec: Any) -> None:
        self._decoder, self._vp8 = get_decoder(codec), codec.name.lower() == "vp8"
        context = getattr(self._decoder, "codec", None)
        if context is not None:
            # FFmpeg reads an H.264 size from its parameter sets, which are not parsed here.
            context.options = {"max_pixels": str(MAX_DECODED_PIXELS)}

    def decode(self, encoded: JitterFrame) -> list[Any]:
        """Return the decoded pictures, or what stands for one."""
        stated = _vp8_size(encoded.data) if self._vp8 else None
        if stated is not None and is_too_large(stated):
            return [stated]
        return list(self._decoder.decode(encoded))


def _vp8_size(data: bytes) -> TooLarge | None:
    """Return the size in a key frame's header (RFC 6386, section 9.1). None: it is no key frame."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != VP8_KEY:
        return None
    width, height = struct.unpack_from("<HH", data, 6)
    return TooLarge(width & 0x3FFF, height & 0x3FFF)
