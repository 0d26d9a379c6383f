"""Closeness of what a search finds, on people whose pictures show their pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.models.base import LatentCodes
from mimicam.engine.types import Image
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, read_clip
from mimicam.training.evaluation.retrieved import evaluate_retrieval
from tests.training.packs import write_pack


class Seeing:
    """A model whose code is the true pose and expression of a frame."""

    size = 64

    def __init__(self, clips: list[Clip]) -> None:
        self._motions = {
            image.tobytes(): motion
            for clip in clips
            for image, motion in zip(clip.images, clip.motions, strict=True)
        }

    def read_motion(self, crop: Image) -> LatentCodes:
        motion = self._motions[crop.tobytes()]
        angles = 4 * np.float32(motion.pose.angles_rad())
        return LatentCodes(expression=np.append(angles, 1).astype(np.float32), pose=np.zeros(0, np.float32))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = write_pack(tmp_path_factory.mktemp("pack"), people=3, frames=40, validation=(0, 1, 2))
    pack = FramePack(Path(folder), validation=True)
    return [read_clip(pack, np.arange(40 * k, 40 * (k + 1))) for k in range(3)]


def test_a_code_that_holds_the_pose_finds_equal_poses(clips: list[Clip]) -> None:
    found = evaluate_retrieval(clips, Seeing(clips))  # type: ignore[arg-type]
    assert found["pose code"]["angles_deg"] < 0.5 * found["chance"]["angles_deg"]
    assert found["tracker"]["blendshapes"] < 0.9 * found["chance"]["blendshapes"]
    # Noise for pictures finds nothing.
    assert found["pixels"]["angles_deg"] == pytest.approx(found["chance"]["angles_deg"], rel=0.15)


def test_chance_is_the_mean_over_all_other_people(clips: list[Clip]) -> None:
    few = [read_part(clip, 2) for clip in clips[:2]]
    angles = [[np.array(m.pose.angles_rad()) for m in clip.motions] for clip in few]
    pairs = [np.abs(a - b).mean() for a in angles[0] for b in angles[1]]
    found = evaluate_retrieval(few, None)
    assert found["chance"]["angles_deg"] == pytest.approx(np.rad2deg(np.mean(pairs)), rel=1e-4)
    assert "pose code" not in found


def read_part(clip: Clip, count: int) -> Clip:
    return Clip(
        identity=clip.identity, images=clip.images[:count], landmarks=clip.landmarks[:count],
        blendshapes=clip.blendshapes[:count], motions=clip.motions[:count],
    )  # fmt: skip
