"""Give video encoders bitrates that fit 640x480 and 720p.

aiortc's VP8 encoder starts at 0.5 Mbit/s and stays between 0.25 and 1.5, which suits small
pictures. H.264 stays between 0.5 and 3. The limits are constants of its codec modules, for all
connections. Here both codecs get the same limits.
"""

from __future__ import annotations

from aiortc.codecs import h264, vpx

_BITS_PER_S = {"DEFAULT_BITRATE": 1_200_000, "MIN_BITRATE": 300_000, "MAX_BITRATE": 3_000_000}


def install() -> None:
    """Use these bitrates in encoders that are made from now on."""
    for codec in (vpx, h264):
        for name, value in _BITS_PER_S.items():
            assert hasattr(codec, name), f"aiortc has no {name} any more"
            setattr(codec, name, value)
