"""Cut full videos into clips as in VoxCeleb and HDTF: one face, one fixed square box, 256x256, 25
fps.

DPE, section 4.1: "faces move freely within a fixed bounding box". A video is decoded twice: first
to track the face and find the clips, then to write them. So memory never holds more than one
picture.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.files import files_below, write_atomically
from mimicam.engine.sinks.video_writer import VideoWriter, h264_encoder
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import CropBox, Face, Image
from mimicam.training.data.split import identity_of

VIDEOS = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"})
COLUMNS = ("file", "identity", "source", "start_s", "seconds", "box_px", "yaw_range_deg", "pitch_range_deg")
_THUMB = 32
_CUT_LEVELS = 28.0
"""Mean grey-level change of a 32x32 thumbnail between two frames: a new shot. Over 3,476 frame
pairs 80 ms apart, all within shots, the most was 27; between shots the median was 56. Face jumps
catch the rest."""
_JUMP = 0.35
"""Largest motion of a face between two frames, in boxes; a larger one is another face, or a jump
cut."""
_WANDER = 1.6
"""Largest side of the common box, in sides of the largest face's own box. In a larger one faces
become small."""
_SHRINK = 0.8
"""Smallest box of a face that fills the picture, relative to its usual box; it avoids repeated
edges."""
_OUTSIDE = 0.2
"""Share of the box's side that may lie outside the picture, where the edge is repeated."""


class UnreadableVideoError(EngineError):
    """A video cannot be read: it is skipped, and the others go on."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Format and limits of the clips."""

    size_px: int = 256
    fps: float = 25.0
    min_s: float = 2.0
    max_s: float = 30.0
    """Length at which a shot becomes several clips."""
    min_box_px: float = 128.0
    """Side of the box in the video; smaller faces would be enlarged more than twice."""


@dataclass(kw_only=True)
class Shot:
    """Frames ``first .. last`` of the resampled video that share one face and one box."""

    first: int
    last: int
    low: np.ndarray
    """``[2]``: top left corner of all the faces' boxes."""
    high: np.ndarray
    largest_px: float
    angles: list[tuple[float, float]] = field(default_factory=list)
    """Yaw and pitch, radians."""

    def box(self, picture: tuple[int, int]) -> CropBox:
        """Return the square around every frame's own box, in the proportion of `portrait_box`.

        It is moved into the picture (height, width) as far as possible.
        """
        wanted = float((self.high - self.low).max())
        # Shrink the box a little rather than show repeated edges.
        size = min(wanted, max(_SHRINK * wanted, min(picture)))
        corner = (self.low + self.high - size) / 2
        room = np.array([picture[1], picture[0]]) - size
        # A box larger than the picture may stick out on both sides, but leaves none of it out.
        x, y = np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))
        return CropBox(x_px=float(x), y_px=float(y), size_px=size)

    def fits(self, box: CropBox) -> bool:
        """Tell whether one box for both would still show the face at a useful size."""
        low = np.minimum(self.low, (box.x_px, box.y_px))
        high = np.maximum(self.high, (box.x_px + box.size_px, box.y_px + box.size_px))
        return float((high - low).max()) <= _WANDER * max(self.largest_px, box.size_px)

    def grow(self, box: CropBox, face: Face) -> None:
        """Add the next frame."""
        self.last += 1
        self.low = np.minimum(self.low, (box.x_px, box.y_px))
        self.high = np.maximum(self.high, (box.x_px + box.size_px, box.y_px + box.size_px))
        self.largest_px = max(self.largest_px, box.size_px)
        self.angles.append(head_pose(face.landmarks).angles_rad()[:2])


def find_videos(root: Path) -> list[Path]:
    """List all videos under a folder, relative to it, in order."""
    found = (p.relative_to(root) for p in files_below(root) if p.suffix.lower() in VIDEOS)
    return [p for p in found if not any(part.startswith(".") for part in p.parts)]


def resampled(path: Path, fps: float) -> Iterator[Image]:
    """Yield the video's pictures at a constant rate: at each tick the newest picture that is due.

    Raises:
        UnreadableVideoError: the file has no video, or cannot be decoded.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableVideoError(f"{path} holds no video")
            yield from _at_rate(container, fps)
    except (OSError, av.error.FFmpegError) as error:
        raise UnreadableVideoError(f"{path} cannot be decoded ({error.strerror})") from error


def _at_rate(container: av.container.InputContainer, fps: float) -> Iterator[Image]:
    start: float | None = None
    ticks = 0
    waiting: Image | None = None
    for frame in container.decode(video=0):
        time_s = float(frame.time or 0.0)
        start = time_s if start is None else start
        # Repeat the newest picture for every tick that the next one comes too late for.
        # Half a period early, so that a picture goes to the tick that lies nearest.
        while waiting is not None and ticks / fps < time_s - start - 0.5 / fps:
            yield waiting
            ticks += 1
        waiting = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    if waiting is not None:
        yield waiting


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames ``first .. last`` of the resampled video, cut at one box."""

    first: int
    last: int
    box: CropBox
    yaw_range_deg: float
    pitch_range_deg: float


def find_clips(images: Iterator[Image], tracker: FaceTracker, options: PrepareOptions) -> list[Clip]:
    """Find where one face is in view without a cut; leave out what is too short, too small or cut
    off."""
    shots: list[Shot] = []
    now: Shot | None = None
    before: np.ndarray | None = None
    previous: CropBox | None = None
    height, width = 0, 0
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        thumb = cv2.resize(image, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
        if before is not None and np.abs(thumb - before).mean() > _CUT_LEVELS:
            now = None  # a new shot: neither the clip nor the tracker continues
            tracker.reset()
        before = thumb
        face = tracker(image)
        if face is None:
            now = previous = None
            continue
        box = portrait_box(face)
        if now is None or _jumped(previous, box) or not now.fits(box) or _is_full(now, options):
            now = _begin(number, box)
            shots.append(now)
        now.grow(box, face)
        previous = box
    clips = (_clip(shot, (height, width)) for shot in shots)
    return [clip for clip in clips if _is_good(clip, options, (height, width))]


def _clip(shot: Shot, picture: tuple[int, int]) -> Clip:
    yaw, pitch = np.rad2deg(np.ptp(np.array(shot.angles), axis=0))
    return Clip(
        first=shot.first,
        last=shot.last,
        box=shot.box(picture),
        yaw_range_deg=round(float(yaw), 1),
        pitch_range_deg=round(float(pitch), 1),
    )


def _begin(number: int, box: CropBox) -> Shot:
    low = np.array([box.x_px, box.y_px])
    return Shot(first=number, last=number - 1, low=low, high=low + box.size_px, largest_px=box.size_px)


def _jumped(previous: CropBox | None, box: CropBox) -> bool:
    if previous is None:
        return True
    dx = box.x_px + box.size_px / 2 - previous.x_px - previous.size_px / 2
    dy = box.y_px + box.size_px / 2 - previous.y_px - previous.size_px / 2
    # A sudden change of size is another face, even in the same place.
    ratio = box.size_px / previous.size_px
    return max(abs(dx), abs(dy)) > _JUMP * previous.size_px / 2 or not 0.75 < ratio < 1.33


def _is_full(shot: Shot, options: PrepareOptions) -> bool:
    return shot.last + 1 - shot.first >= round(options.max_s * options.fps)


def _is_good(clip: Clip, options: PrepareOptions, picture: tuple[int, int]) -> bool:
    box = clip.box
    long_enough = clip.last + 1 - clip.first >= round(options.min_s * options.fps)
    # Pixels of the box beyond the picture's shorter side.
    outside = box.size_px - min(*picture, box.size_px)
    return long_enough and box.size_px >= options.min_box_px and outside <= _OUTSIDE * box.size_px


@dataclass(frozen=True, kw_only=True)
class Preparer:
    """Turns videos under one folder into clips under another, and keeps a record of what is done
    there."""

    videos: Path
    out: Path
    options: PrepareOptions = field(default_factory=PrepareOptions)

    def is_done(self, relative: Path) -> bool:
        """Tell whether an earlier run finished this video with the same options."""
        note = self._note(relative)
        return note.is_file() and json.loads(note.read_text())["options"] == vars(self.options)

    def __call__(self, relative: Path) -> int:
        """Prepare one video; returns the number of clips.

        Raises:
            UnreadableVideoError: the video cannot be decoded.
            EngineError: the clips cannot be written.
        """
        path = self.videos / relative
        clips = find_clips(resampled(path, self.options.fps), FaceTracker(), self.options)
        names = [self._clip_name(relative, number) for number in range(len(clips))]
        self._write(path, clips, names)
        rows = [self._row(relative, clip, name) for clip, name in zip(clips, names, strict=True)]
        _replace(self._note(relative), json.dumps({"options": vars(self.options), "rows": rows}))
        return len(rows)

    def write_index(self) -> Path:
        """Write ``clips.csv`` with everything done so far, for 'mimicam data pack'."""
        rows: list[dict[str, object]] = []
        for note in sorted((self.out / ".done").rglob("*.json")):
            rows += json.loads(note.read_text())["rows"]
        index = self.out / "clips.csv"
        with write_atomically(index) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return index

    def _note(self, relative: Path) -> Path:
        return self.out / ".done" / relative.with_name(relative.name + ".json")

    def _clip_name(self, relative: Path, number: int) -> Path:
        inner = "-".join(relative.with_suffix("").parts)
        return Path(identity_of(relative)) / f"{inner}-{number:03d}.mp4"

    def _row(self, relative: Path, clip: Clip, name: Path) -> dict[str, object]:
        fps = self.options.fps
        return {
            "file": name.as_posix(),
            "identity": identity_of(relative),
            "source": relative.as_posix(),
            "start_s": round(clip.first / fps, 3),
            "seconds": round((clip.last + 1 - clip.first) / fps, 3),
            "box_px": round(clip.box.size_px),
            "yaw_range_deg": clip.yaw_range_deg,
            "pitch_range_deg": clip.pitch_range_deg,
        }

    def _write(self, path: Path, clips: list[Clip], names: list[Path]) -> None:
        waiting = list(zip(clips, names, strict=True))
        writer: VideoWriter | None = None
        try:
            for number, image in enumerate(resampled(path, self.options.fps) if waiting else ()):
                clip, name = waiting[0]
                # Clips are in order and do not overlap, so one pass writes them all.
                if number < clip.first:
                    continue
                writer = writer or self._open(name)
                picture = cut(image, clip.box, self.options.size_px)
                writer.write(picture, (number - clip.first) / self.options.fps)
                if number == clip.last:
                    writer.finish()
                    writer = None
                    waiting.pop(0)
                    if not waiting:
                        return
        finally:
            if writer is not None:
                writer.abort()

    def _open(self, name: Path) -> VideoWriter:
        (self.out / name).parent.mkdir(parents=True, exist_ok=True)
        encoder = h264_encoder()
        if encoder is None:
            raise EngineError("this PyAV has no H.264 encoder: install PyAV's own wheel (pip install av)")
        size = (self.options.size_px, self.options.size_px)
        return VideoWriter(self.out / name, size=size, fps=self.options.fps, encoder=encoder)


def prepare_all(
    preparer: Preparer, videos: list[Path], report: Callable[[str], None], advance: Callable[[], None]
) -> tuple[int, int]:
    """Prepare every video that is not done; return the clips written now and the videos that could
    not be read."""
    clips, bad = 0, 0
    for relative in videos:
        if not preparer.is_done(relative):
            try:
                clips += preparer(relative)
            except UnreadableVideoError as error:
                report(f"skipped: {error}")
                bad += 1
            preparer.write_index()
        advance()
    return clips, bad


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as part:
        part.write_text(text)
