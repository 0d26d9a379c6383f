"""A pack of two people who move and one who is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import CropBox, Image
from mimicam.training.data.pack import Packer, Segment
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, load_clips
from tests.stages.material import bundled, driver_clip, first_face

FRAMES = 8


def _moving(name: str) -> list[Image]:
    """A person who moves: the driver as filmed, a portrait rocked by the camera."""
    if name == "driver":
        box = portrait_box(first_face())
        return [cut(image, box, 192) for image in driver_clip()[8 : 8 + 2 * FRAMES : 2]]
    side = float(bundled(name).shape[0])
    return [cut(bundled(name), CropBox(x_px=6.0 * i, y_px=3.0 * i, size_px=side), 192) for i in range(FRAMES)]


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    packer = Packer(folder, size=192)
    for name, validation in (("driver", True), ("rosa.jpg", True), ("samir.jpg", False)):
        packer.begin(Segment(file=name, identity=name, validation=validation))
        for image in _moving(name):
            assert packer.keep(np.ascontiguousarray(image))
    packer.close()
    return folder


@pytest.fixture(scope="session")
def pack(pack_folder: Path) -> FramePack:
    return FramePack(pack_folder, validation=True)


@pytest.fixture(scope="session")
def clips(pack: FramePack) -> list[Clip]:
    return load_clips(pack, FRAMES)
