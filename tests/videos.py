"""Small good and bad videos and pictures for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mimicam.engine.types import Image


def grey(level: int, size: tuple[int, int] = (64, 48)) -> Image:
    """Return a flat picture; ``size`` is width, height."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def write_video(
    path: Path, images: list[Image], *, fps: int = 25, times_s: list[float] | None = None, sound: bool = False
) -> Path:
    """Write MPEG-4 video of the pictures at ``fps`` or at ``times_s``.

    ``sound`` adds a tone in AAC.
    """
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(1000 * (times_s[index] if times_s else index / fps))
            frame.time_base = Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            _write_tone(out, tone, len(images) / fps)
    return path


def _write_tone(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    total, step = round(16000 * seconds), 1024
    for start in range(0, total, step):
        t = np.arange(start, start + step) / 16000
        wave = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def levels(path: Path) -> list[int]:
    """Return the mean grey level of every picture of a video."""
    with av.open(str(path)) as container:
        return [round(float(f.to_ndarray(format="gray").mean())) for f in container.decode(video=0)]
