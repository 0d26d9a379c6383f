"""Decode clips once, track every face once, and keep both in a form that training maps into memory.

A pack is a folder of three files:

- ``frames.npy``: uint8 ``[N, size, size, 3]``, RGB.
- ``track.npz``: ``landmarks`` float32 ``[N, 478, 3]`` in crop space (-1..1 over the picture, z in
  the same unit); ``blendshapes`` float32 ``[N, 52]``; ``segment`` int32 ``[N]``, the frames of one
  clip between two jump cuts; ``pose_group`` int32 ``[N]``, equal where the head pose is equal by
  construction (each frame of a clip has its own); ``made`` bool ``[N]``, true for pictures that
  were re-rendered from another one.
- ``segments.json``: file, identity and split of each segment.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.files import Aside, files_below
from mimicam.engine.types import BLENDSHAPES, LANDMARKS, CropBox, Image
from mimicam.training.data.split import identity_of

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_CLIPS = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"})


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Frames of one person without a cut."""

    file: str
    identity: str
    validation: bool
    cuts_s: tuple[float, ...] = ()
    """Times of jump cuts, seconds; the clip becomes several segments there."""


def read_clip_index(folder: Path, index: Path, validation: frozenset[str]) -> list[Segment]:
    """Read a csv with the columns ``file``, ``identity`` and, for clips with jump cuts,
    ``jump_cuts_s``.

    Raises:
        EngineError: the csv is missing, lacks a column, or names a file that is not there.
    """
    if not index.is_file():
        raise EngineError(f"{index} does not exist: give a csv with the columns 'file' and 'identity'")
    with index.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not {"file", "identity"} <= rows[0].keys():
        raise EngineError(f"{index} needs the columns 'file' and 'identity'")
    missing = [row["file"] for row in rows if not (folder / row["file"]).is_file()]
    if missing:
        raise EngineError(f"{index} names {missing[0]}, which is not in {folder}")
    return [
        Segment(
            file=row["file"],
            identity=row["identity"],
            validation=row["identity"] in validation,
            cuts_s=_cuts(index, row),
        )
        for row in rows
    ]


def _cuts(index: Path, row: dict[str, str]) -> tuple[float, ...]:
    text = row.get("jump_cuts_s") or ""
    try:
        return tuple(float(cut) for cut in text.split())
    except ValueError as error:
        raise EngineError(
            f"{index}: jump_cuts_s of {row['file']} is '{text}', not seconds with spaces between"
        ) from error


def read_clip_folder(folder: Path, validation: frozenset[str]) -> list[Segment]:
    """List every clip and picture below a folder; the identity comes from the path, see
    `identity_of`.

    Raises:
        EngineError: there is none.
    """
    found = [p.relative_to(folder) for p in files_below(folder) if p.suffix.lower() in _CLIPS | PICTURES]
    if not found:
        raise EngineError(f"{folder} holds no clips and no pictures: give another folder, or --index")
    named = ((p, identity_of(p)) for p in found)
    return [Segment(file=p.as_posix(), identity=who, validation=who in validation) for p, who in named]


def read_frames(path: Path, every: int) -> Iterator[tuple[float, Image]]:
    """Yield time in seconds and RGB picture of every n-th frame of a video, or of a picture
    file."""
    if path.suffix.lower() in PICTURES:
        picture = cv2.imread(str(path))
        if picture is None:
            raise EngineError(f"{path} is not a picture that OpenCV reads")
        yield 0.0, np.ascontiguousarray(picture[:, :, ::-1])
        return
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            # All are decoded, since frames refer to those before them.
            if number % every == 0:
                yield float(frame.time or 0.0), frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


class Packer:
    """Writes a pack, segment by segment; ``close`` writes the tables."""

    def __init__(self, out: Path, *, size: int = 256, every: int = 2) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._size, self._every = out, size, every
        self._aside = Aside(out / "frames.npy")
        # Without a header: that of a .npy states the number of frames, known at the end.
        self._raw = self._aside.part.open("wb")
        self._tracker = FaceTracker()
        self._landmarks: list[np.ndarray] = []
        self._blendshapes: list[np.ndarray] = []
        self._segment: list[int] = []
        self._same_pose_group: list[int] = []
        self._is_synthetic: list[bool] = []
        self._segments: list[dict[str, object]] = []

    def add(self, path: Path, segment: Segment) -> int:
        """Decode and track one clip; return the number of frames with a face, which are kept."""
        kept, part = 0, -1
        for time_s, image in read_frames(path, self._every):
            now = sum(time_s >= cut for cut in segment.cuts_s)
            if now != part:
                part = now
                self.begin(segment, part)
            kept += self.keep(image)
        return kept

    def begin(self, segment: Segment, part: int = 0) -> None:
        """Start a segment: what is kept from here on is one person without a cut."""
        self._segments.append(asdict(segment) | {"part": part})
        self._tracker.reset()

    def keep(self, image: Image, *, same_pose_group: int | None = None, is_synthetic: bool = False) -> bool:
        """Track and store one picture of the segment; return False if it shows no face.

        Args:
            image: RGB.
            same_pose_group: number of the caller's choice, shared by pictures with the same head
                pose.
            is_synthetic: re-rendered from a real picture of the segment; see
                `training.data.pairs.target_rows`.
        """
        face = self._tracker(image)
        if face is None:
            return False
        # The square that `_square` pads to. It has its own scale, so landmarks need no resizing.
        box = CropBox(x_px=0.0, y_px=0.0, size_px=float(max(image.shape[:2])))
        self._landmarks.append(box.from_image(face.landmarks))
        self._blendshapes.append(face.blendshapes)
        self._segment.append(len(self._segments) - 1)
        self._same_pose_group.append(
            # A number that no other frame has: the pose is like no other.
            len(self._same_pose_group) if same_pose_group is None else same_pose_group
        )
        self._is_synthetic.append(is_synthetic)
        self._raw.write(_square(image, self._size).tobytes())
        return True

    def close(self) -> None:
        """Write the tables and rename the files to their final names.

        Raises:
            EngineError: no picture that was added shows a face.
        """
        self._raw.close()
        count = len(self._segment)
        if not count:
            self._aside.discard()
            raise EngineError("no frame shows a face: give clips in which one is seen")
        # Mapped, since the frames of a pack may not fit into memory.
        raw = np.memmap(self._aside.part, np.uint8, "r", shape=(count, self._size, self._size, 3))
        np.save(self._out / "frames.npy", raw)
        self._aside.discard()
        np.savez(
            self._out / "track.npz",
            landmarks=np.stack(self._landmarks).reshape(-1, LANDMARKS, 3),
            blendshapes=np.stack(self._blendshapes).reshape(-1, BLENDSHAPES),
            segment=np.array(self._segment, np.int32),
            pose_group=np.array(self._same_pose_group, np.int32),
            made=np.array(self._is_synthetic, bool),
        )
        (self._out / "segments.json").write_text(json.dumps(self._segments, indent=1))


def _square(image: Image, size: int) -> Image:
    """Pad the picture to a square at the right or the bottom, and resize it."""
    height, width = image.shape[:2]
    side = max(height, width)
    if height != width:
        # To the right and below only, so that coordinates of landmarks stay. Repeated pixels, as in
        # crops that leave the picture.
        image = cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_REPLICATE)
    if side == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
