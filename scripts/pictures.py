"""Make the pictures of the documentation again, with the bundled model, portraits and clip.

python -m scripts.pictures [FOLDER]   writes demo.png, mimicam.webp and moments.jpg (into docs by default)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from mimicam.engine.assets_manifest import bundled_portraits, demo_clip
from mimicam.engine.commands.live import load_all
from mimicam.engine.demo import LABEL_PX, PORTRAITS_SHOWN, DriverView, Wall
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.render import write_picture
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import EditSettings, Frame, Image, Mode
from scripts.moments import moments_picture, write_moments

DEMO_FRAMES = (50, 152, 233, 262, 324, 450)
"""Frames of the clip, one per portrait: grief, a look aside, relief, a smile, a laugh, laughter with
closed eyes."""
DEMO_WIDTH = 960
MOVING_FRAMES = range(264, 390)
"""Frames of the clip: smile, surprise, blink, laugh, turn."""
BEFORE = 48
"""Number of frames drawn before those, 2 s, so that the driver's neutral is found."""
DRAWN, SIDE, COLUMNS, ROWS = 400, 200, 4, 2
"""Side of a cell, pixels, when drawn and when shown; number of columns and rows."""
FADE_FRAMES = 8
"""Number of frames over which the end fades into the beginning."""
QUALITY = 78
"""Quality of WebP, 0 to 100: gives 2.5 MB. With 60 the encoder keeps blocks of earlier pictures, which
show as squares on faces (looked at, 2026-11)."""


def clip_frames(video: VideoFile) -> Iterator[Frame]:
    """Yield all frames with their times."""
    for seq, timed in enumerate(video):
        yield Frame(image=timed.image, seq=seq, captured_ns=round(timed.time_s * 1e9))


def demo_picture() -> Image:
    """Draw what ``mimicam demo`` shows at `DEMO_FRAMES`, one below the other."""
    model, portraits = load_all("compact", "auto", bundled_portraits()[:PORTRAITS_SHOWN])
    video = VideoFile(demo_clip())
    wall = Wall(model, portraits, seconds=video.duration_s)
    shown = {frame.seq: wall.draw(wall.observe(frame)).image.copy() for frame in clip_frames(video)}
    first, *others = (shown[seq] for seq in DEMO_FRAMES)
    whole = np.vstack([first, *(image[LABEL_PX:] for image in others)])
    height = round(whole.shape[0] * DEMO_WIDTH / whole.shape[1])
    return np.asarray(cv2.resize(whole, (DEMO_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def moving_picture() -> list[Image]:
    """Draw the driver beside the first bundled portraits that she drives."""
    model, portraits = load_all("compact", "auto", bundled_portraits()[: ROWS * COLUMNS - 1])
    view, track, pictures = DriverView(SIDE), FaceTracker(), []
    pipelines = [
        Pipeline(model=model, portrait=portrait, edit=EditSettings(mode=Mode.BOTH), size=(DRAWN, DRAWN), track=track)
        for portrait in portraits
    ]  # fmt: skip
    for frame in clip_frames(VideoFile(demo_clip())):
        if frame.seq < MOVING_FRAMES.start - BEFORE:
            continue
        if frame.seq >= MOVING_FRAMES.stop:
            break
        seen = pipelines[0].observe(frame)
        cells = [view(seen), *(_smaller(pipeline.draw(seen).image) for pipeline in pipelines)]
        if frame.seq in MOVING_FRAMES:
            rows = [np.hstack(cells[at : at + COLUMNS]) for at in range(0, len(cells), COLUMNS)]
            pictures.append(np.vstack(rows))
    return without_seam(pictures)


def _smaller(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def without_seam(pictures: Sequence[Image]) -> list[Image]:
    """Fade the last pictures into the first, which are removed from the start."""
    kept = list(pictures[FADE_FRAMES:])
    for step in range(FADE_FRAMES):
        share = (step + 1) / (FADE_FRAMES + 1)
        at = len(kept) - FADE_FRAMES + step
        kept[at] = np.asarray(cv2.addWeighted(pictures[step], share, kept[at], 1 - share, 0), np.uint8)
    return kept


def write_moving(path: Path, pictures: Sequence[Image], fps: int) -> None:
    """Write a WebP that repeats without end."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"quality": str(QUALITY), "compression_level": "6"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def main(arguments: list[str]) -> int:
    """Write all pictures, and print their sizes."""
    folder = Path(arguments[0]) if arguments else Path("docs")
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / "demo.png", demo_picture())
    write_moving(folder / "mimicam.webp", moving_picture(), round(VideoFile(demo_clip()).fps))
    write_moments(folder / "moments.jpg", moments_picture())
    for name in ("demo.png", "mimicam.webp", "moments.jpg"):
        print(f"{folder / name}: {(folder / name).stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
