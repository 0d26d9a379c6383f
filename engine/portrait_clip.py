"""Frames of a video that serve as pictures of a portrait."""

from __future__ import annotations

from pathlib import Path

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.files import VIDEO_SUFFIXES
from mimicam.engine.types import Image, MotionCode

_COUNT = 8
"""Frames that are chosen, as many as DAE-GAN is evaluated on in the middle (table 1: 1, 8, 32)."""
_MOST_S = 60.0
"""Seconds that are read from the start of a video."""
_MOVING = tuple(BLENDSHAPE_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"))


def is_clip(path: Path) -> bool:
    """Whether the suffix is that of a video. Anything else is read as a picture."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def spread_frames(path: Path, count: int = _COUNT) -> list[Image]:
    """Return at most ``count`` frames, evenly spread over the video's first minute.

    Raises:
        EngineError: the file is no video that can be read.
    """
    from mimicam.engine.sources.video import VideoFile  # PyAV is not needed for pictures

    file, kept, step = VideoFile(path), list[Image](), 1
    try:
        for number, timed in enumerate(file):
            if timed.time_s > _MOST_S:
                break
            if number % step:
                continue
            kept.append(timed.image.copy())
            if len(kept) == 2 * count:
                # The length may be unknown: keep every second frame, and go on half as densely.
                kept, step = kept[::2], 2 * step
    finally:
        file.close()
    places = {round(k * (len(kept) - 1) / max(count - 1, 1)) for k in range(count)}
    return [kept[place] for place in sorted(places)]


def unrest(motion: MotionCode) -> float:
    """Return how far a face is from looking ahead with closed mouth and open eyes; radians, and
    blendshapes in the same unit."""
    yaw, pitch, _ = motion.pose.angles_rad()
    return abs(float(yaw)) + abs(float(pitch)) + float(motion.expression[list(_MOVING)].sum())
