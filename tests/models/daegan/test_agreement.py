"""The mouth of a face from several pictures is that of the first one, which is at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.models.daegan.agreement import resting_mouth
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.model import DaeGanModel
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.engine.models.load import load_model
from mimicam.engine.picture_file import read_picture
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y, cut, whole_box
from mimicam.engine.types import Image


def test_the_mouth_lies_where_boxes_put_it() -> None:
    mask = resting_mouth(512)
    points = ((face_geometry().mean[:, :2] * HEAD_SCALE + (0.0, HEAD_Y) + 1) * 256).astype(int)

    def at(landmark: int) -> float:
        x, y = points[landmark]
        return float(mask[y, x])

    # Both lips and the corners; not nose, chin, cheeks or eyes.
    assert min(map(at, (13, 14, 0, 17, 61, 291))) > 0.5
    assert max(map(at, (1, 152, 50, 280, 33, 263))) < 0.1
    assert 0 <= mask.min() < 1e-3 < 0.99 < mask.max() <= 1.001
    np.testing.assert_allclose(resting_mouth(128)[::4, ::4].sum() * 16, resting_mouth(128).sum(), rtol=0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DaeGanModel:
    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("compact") / "m.safetensors"
    save_daegan(CompactDaeGan(DAEGAN_COMPACT_64).eval(), path)
    loaded = load_model(str(path), "torch")
    assert isinstance(loaded, DaeGanModel)
    return loaded


def test_a_face_has_the_mouth_of_the_first_picture(model: DaeGanModel) -> None:
    crops = [crop(path, model.frame_size) for path in bundled_portraits()[:3]]
    fused = model.encode_frames(crops).arrays["embedded_face"][0]
    first = model.encode(crops[0]).arrays["embedded_face"][0]
    # Untrained networks do not warp, so the mouth is where the mask is.
    mouth = resting_mouth(model.frame_size) > 0.99
    away = resting_mouth(model.frame_size) == 0
    np.testing.assert_allclose(fused[:, mouth], first[:, mouth], atol=0.02)
    assert np.abs(fused - first)[:, away].mean() > 0.05, "the others count elsewhere"


def crop(path: Path, side: int) -> Image:
    picture = read_picture(path)
    return cut(picture, whole_box(picture), side)
