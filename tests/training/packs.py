"""Small packs with faces that move as faces do, for tests without a tracker."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.face.geometry import face_geometry


def write_pack(
    folder: Path, *, people: int = 3, frames: int = 6, size: int = 64, validation: tuple[int, ...] = (0,)
) -> Path:
    """One segment a person: coloured blobs for pictures, the mean face turned and opened for landmarks."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    count = people * frames
    noise = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    images = np.stack([cv2.resize(n, (size, size), interpolation=cv2.INTER_CUBIC) for n in noise])
    shapes = rng.uniform(0, 0.6, (count, 52)).astype(np.float32)
    g = face_geometry()
    canonical = g.mean + np.tensordot(shapes, g.shape_from_expression, axes=(1, 0))
    landmarks = np.empty((count, 478, 3), np.float32)
    for n, shape in enumerate(canonical):
        yaw, roll = rng.uniform(-0.4, 0.4), rng.uniform(-0.2, 0.2)
        turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        spin = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        landmarks[n] = 0.4 * shape @ (spin @ turn).T + np.array([*rng.uniform(-0.1, 0.1, 2), 0.0])
    np.save(folder / "frames.npy", images)
    segment = np.repeat(np.arange(people, dtype=np.int32), frames)
    np.savez(folder / "track.npz", landmarks=landmarks, blendshapes=shapes, segment=segment)
    rows = [{"file": f"{p}.mp4", "identity": f"p{p}", "validation": p in validation} for p in range(people)]
    (folder / "segments.json").write_text(json.dumps(rows))
    return folder
