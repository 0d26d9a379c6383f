"""Write packs small enough to copy to a remote machine, and read them there with NumPy and OpenCV
alone.

The folder holds ``pack.json`` and, per pack:

- ``NAME.webp``: the pictures, concatenated.
- ``NAME.tables.xz``: an npz. Landmarks are int16 in steps of 1/4096 of the crop's half side, as
  differences between successive frames. Blendshapes are fp16. The other tables are segment numbers
  and the pictures' offsets in the file.

``weights.pt``, ``perceptual.pt`` and ``landmarks.onnx`` are optional.
"""

from __future__ import annotations

import io
import json
import lzma
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image
from mimicam.training.data.pack_folder import check_pack

_STEPS = 4096
_TABLE_BYTES = 1400
"""Bytes of a frame's tables, compressed: a first guess, replaced by the size of the pack's own
tables."""
_SAFE = 0.98
_SHORT = 8
"""Longest segment, frames, that is taken whole or not at all: rendered heads and single
pictures."""
_PROBE = 200
_OTHER_SHARE = 0.2
"""Share of the bytes for each pack after the first."""


@dataclass(frozen=True, kw_only=True)
class PortablePack:
    """A pack in memory, read or drawn."""

    name: str
    frames: Image
    """``[N, S, S, 3]``"""
    landmarks: np.ndarray
    """``[N, 478, 3]``, crop space."""
    blendshapes: np.ndarray
    segment: np.ndarray
    """int ``[N]``, ascending."""
    same_pose_group: np.ndarray
    """int ``[N]``; see `training.data.pack`."""
    is_synthetic: np.ndarray
    """bool ``[N]``; likewise."""
    validation: np.ndarray
    """bool ``[N]``"""

    def rows(self, *, validation: bool) -> np.ndarray:
        """Return the frame numbers of one side of the split."""
        return np.flatnonzero(self.validation == validation)


def choose_frames(segment: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Choose about ``count`` of ``rows``, ascending: evenly within long segments, and short
    segments as a whole.

    At least two frames of a long segment stay, so that it still gives a pair.
    """
    if count >= len(rows) or not len(rows):
        return rows
    groups = np.split(rows, np.flatnonzero(np.diff(segment[rows])) + 1)
    # Evenly spread frames of each segment keep its range of motion.
    share = count / len(rows)
    if np.median([len(g) for g in groups]) <= _SHORT:
        picked = np.linspace(0, len(groups) - 1, max(1, round(share * len(groups)))).round().astype(int)
        return np.concatenate([groups[i] for i in picked])
    kept = [
        g[np.linspace(0, len(g) - 1, min(len(g), max(2, round(share * len(g))))).round().astype(int)]
        for g in groups
    ]
    return np.concatenate(kept)


class PackWriter:
    """Writes one pack, thinned out to fit a number of bytes."""

    def __init__(self, folder: Path, *, out: Path, quality: int, size_px: int) -> None:
        """Open a pack.

        Raises:
            EngineError: the folder is not a pack.
        """
        check_pack(folder)
        self._name, self._out, self._quality, self._size = folder.name, out, quality, size_px
        self._frames = np.load(folder / "frames.npy", mmap_mode="r")
        self._segments = json.loads((folder / "segments.json").read_text())
        with np.load(folder / "track.npz") as track:
            self._tables = {name: track[name] for name in ("landmarks", "blendshapes", "segment")}
            own = np.arange(len(self._tables["segment"]), dtype=np.int32)
            self._tables["pose_group"] = track.get("pose_group", own)
            self._tables["made"] = track.get("made", np.zeros(len(own), bool))
        self._validation = np.array([bool(s["validation"]) for s in self._segments])[self._tables["segment"]]

    def write(self, limit_bytes: int, validation_share: float = 0.04) -> dict[str, object]:
        """Write as many frames as fit; returns the pack's entry of ``pack.json``."""
        # The tables' compression depends on how many frames are taken: two rounds settle it.
        picture, table = self._bytes_per_frame(), float(_TABLE_BYTES)
        for _ in range(2):
            rows = self._choose(int(_SAFE * limit_bytes / (picture + table)), validation_share)
            table = len(self._tables_of(rows, np.zeros(0, np.int64))) / len(rows)
        rows = self._choose(int(_SAFE * limit_bytes / (picture + table)), validation_share)
        packed = self._tables_of(rows, self._write_pictures(rows))
        (self._out / f"{self._name}.tables.xz").write_bytes(packed)
        return {"name": self._name, "size": self._size, "frames": len(rows), "of": len(self._validation)}

    def _choose(self, count: int, validation_share: float) -> np.ndarray:
        segment = self._tables["segment"]
        kept = choose_frames(segment, np.flatnonzero(self._validation), int(validation_share * count))
        trained = choose_frames(segment, np.flatnonzero(~self._validation), count - len(kept))
        return np.sort(np.concatenate([kept, trained]))

    def _bytes_per_frame(self) -> float:
        rows = np.linspace(0, len(self._frames) - 1, min(_PROBE, len(self._frames))).astype(int)
        return float(np.mean([len(self._encode(int(i))) for i in rows]))

    def _encode(self, row: int) -> bytes:
        image = np.ascontiguousarray(self._frames[row][:, :, ::-1])
        if image.shape[0] != self._size:
            image = cv2.resize(image, (self._size, self._size), interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, self._quality])
        if not done:
            raise EngineError("this OpenCV writes no WebP: install opencv-python's own wheel")
        return data.tobytes()

    def _write_pictures(self, rows: np.ndarray) -> np.ndarray:
        offsets = [0]
        with (self._out / f"{self._name}.webp").open("wb") as file:
            for row in rows:
                offsets.append(offsets[-1] + file.write(self._encode(int(row))))
        return np.array(offsets, np.int64)

    def _tables_of(self, rows: np.ndarray, offsets: np.ndarray) -> bytes:
        # 1/4096 of half a side is 1/32 pixel at 256: below the tracker's noise.
        steps = (self._tables["landmarks"][rows] * _STEPS).round().clip(-32768, 32767).astype(np.int16)
        body = io.BytesIO()
        np.savez(
            body,
            # Differences of successive frames are small, so they compress well.
            landmarks=np.diff(steps, axis=0, prepend=np.zeros_like(steps[:1])),
            blendshapes=self._tables["blendshapes"][rows].astype(np.float16),
            segment=self._tables["segment"][rows],
            pose_group=self._tables["pose_group"][rows],
            made=self._tables["made"][rows],
            validation=self._validation[rows],
            offsets=offsets,
        )
        return lzma.compress(body.getvalue(), preset=3)


def read_packs(folder: Path) -> list[PortablePack]:
    """Read every pack of a folder; all cores decode pictures.

    Raises:
        EngineError: the folder was not written by `write_packs`, or is not complete.
    """
    index = folder / "pack.json"
    if not index.is_file():
        raise EngineError(
            f"{folder} holds no pack.json: write it with 'python -m scripts.remote_training.pack'"
        )
    return [_read_pack(folder, str(entry["name"])) for entry in json.loads(index.read_text())["packs"]]


def _read_pack(folder: Path, name: str) -> PortablePack:
    try:
        data = (folder / f"{name}.webp").read_bytes()
        body = lzma.decompress((folder / f"{name}.tables.xz").read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise EngineError(f"{folder} does not hold all of pack '{name}' ({error}): copy it again") from error
    with np.load(io.BytesIO(body)) as tables:
        t = {key: tables[key] for key in tables.files}
    spans = zip(t["offsets"][:-1], t["offsets"][1:], strict=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        frames = list(pool.map(_decode, (data[a:b] for a, b in spans)))
    # Sums wrap around in int16 as the differences did.
    landmarks = np.cumsum(t["landmarks"], axis=0, dtype=np.int16).astype(np.float32) / _STEPS
    return PortablePack(
        name=name,
        frames=np.stack(frames),
        landmarks=landmarks,
        blendshapes=t["blendshapes"].astype(np.float32),
        segment=t["segment"],
        same_pose_group=t["pose_group"],
        is_synthetic=t["made"],
        validation=t["validation"],
    )


def _decode(data: bytes) -> Image:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise EngineError("a picture is damaged: copy the pack again")
    return np.ascontiguousarray(picture[:, :, ::-1])


def write_packs(
    folders: Iterable[Path],
    out: Path,
    *,
    limit_bytes: int,
    quality: int,
    size_px: int,
    say: Callable[[str], None],
    shares: Sequence[float] = (),
) -> None:
    """Write packs that share the bytes.

    Args:
        shares: part of the bytes for each pack after the first, which takes the rest. Empty gives
            each a fifth.

    Raises:
        EngineError: names repeat, or the shares do not fit the packs.
    """
    folders = list(folders)
    if len({f.name for f in folders}) != len(folders):
        raise EngineError("two packs have the same folder name: rename one")
    parts = [int(limit_bytes * share) for share in _all_shares(shares, len(folders))]
    entries = []
    for folder, part in zip(folders, parts, strict=True):
        entry = PackWriter(folder, out=out, quality=quality, size_px=size_px).write(part)
        entries.append(entry)
        say(f"{entry['name']}: {entry['frames']} of {entry['of']} frames")
    (out / "pack.json").write_text(json.dumps({"packs": entries}, indent=1))


def _all_shares(others: Sequence[float], count: int) -> list[float]:
    others = list(others) or [_OTHER_SHARE] * (count - 1)
    first = 1 - sum(others)
    if len(others) != count - 1 or min(others, default=0.5) <= 0 or first <= 0:
        raise EngineError(
            f"--shares needs {count - 1} numbers above 0, one for each pack after the first, and a sum below 1"
        )
    return [first, *others]
