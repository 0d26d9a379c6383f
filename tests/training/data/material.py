"""Small packs: one of real faces, one whose pictures say which person and which part of a clip they are of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import CropBox
from mimicam.training.data.pack import Packer, Segment
from tests.stages.material import bundled, driver_clip, first_face, pose, shapes

PEOPLE = {"driver": False, "samir": False, "rosa": True, "anna": False, "astronaut": True}
"""Who is kept out of training."""


def write_faces(folder: Path, size: int = 192) -> Path:
    """Bundled people: the driver moves, the portraits are moved. Tracked by the real tracker."""
    packer = Packer(folder, size=size)
    box = portrait_box(first_face())
    for name, validation in PEOPLE.items():
        packer.begin(Segment(file=f"{name}.mp4", identity=name, validation=validation))
        if name == "driver":
            images = [cut(image, box, size) for image in driver_clip()[:6]]
        else:
            picture = bundled(f"{name}.jpg")
            side = float(picture.shape[0])
            images = [cut(picture, CropBox(x_px=10.0 * i, y_px=0.0, size_px=side), size) for i in range(3)]
        for image in images:
            assert packer.keep(np.ascontiguousarray(image))
    packer.close()
    return folder


def write_flat(folder: Path, lengths: list[tuple[str, bool, int]], size: int = 32) -> Path:
    """``lengths``: identity, validation, frames of each segment; its frames have the grey level 10 * (index + 1)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    segment = np.repeat(np.arange(len(lengths)), [n for _, _, n in lengths]).astype(np.int32)
    levels = (10 * (segment + 1)).astype(np.uint8)
    np.save(folder / "frames.npy", np.broadcast_to(levels[:, None, None, None], (len(levels), size, size, 3)))
    faces = [
        place(face_geometry().mean, pose(yaw=rng.uniform(-20, 20), at=(rng.uniform(-0.1, 0.1), -0.18)))
        for _ in levels
    ]
    np.savez(
        folder / "track.npz",
        landmarks=np.stack(faces).astype(np.float32),
        blendshapes=np.stack([shapes(jawOpen=rng.random()) for _ in levels]),
        segment=segment,
    )
    rows = [
        {"file": f"{i}.mp4", "identity": who, "validation": kept} for i, (who, kept, _) in enumerate(lengths)
    ]
    (folder / "segments.json").write_text(json.dumps(rows))
    return folder
