"""A portrait from several pictures or a clip: what is encoded, kept, and encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Features
from mimicam.engine.network_spec import Shapes
from mimicam.engine.portrait import Portrait, enroll, load_portrait, save_portrait
from mimicam.engine.portrait_clip import is_clip, spread_frames, unrest
from mimicam.engine.stages.crop import cut
from mimicam.engine.types import Image
from tests.portrait.test_portrait import FakeModel
from tests.videos import write_video

PICTURES = bundled_portraits()[:3]


class Several(FakeModel):
    """Keeps the mean of each crop. Its crops have twice the side of its pictures."""

    frame_size = 2 * FakeModel.size

    def feature_shapes(self) -> Shapes:
        return {"means": (len(PICTURES),)}

    def encode_frames(self, crops: Sequence[Image]) -> Features:
        assert {len(crop) for crop in crops} == {self.frame_size}
        return Features(arrays={"means": np.array([c.mean() for c in crops], np.float32)}, model=self.sha256)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return enroll(PICTURES[0], model=Several(), more=PICTURES[1:])


def test_every_picture_is_cropped_to_its_face_and_encoded(portrait: Portrait) -> None:
    found = [enroll(path, model=FakeModel()) for path in PICTURES]
    crops = [cut(each.picture, each.box, Several.frame_size) for each in found]
    assert np.array_equal(portrait.crop, found[0].crop), "of the model's own size"
    assert all(np.array_equal(a, b) for a, b in zip(portrait.others, crops[1:], strict=True))
    np.testing.assert_allclose(portrait.features.arrays["means"], [c.mean() for c in crops], rtol=1e-5)
    assert portrait.name == PICTURES[0].stem


def test_a_model_of_one_picture_refuses_more() -> None:
    with pytest.raises(EngineError, match="fake reads one picture of a portrait: give one"):
        enroll(PICTURES[0], model=FakeModel(), more=PICTURES[1:])


def test_a_folder_keeps_all_pictures_for_other_weights(portrait: Portrait, tmp_path: Path) -> None:
    save_portrait(portrait, tmp_path / "me")
    same = load_portrait(tmp_path / "me", model=Several())
    assert all(np.array_equal(a, b) for a, b in zip(same.others, portrait.others, strict=True))
    assert np.array_equal(same.features.arrays["means"], portrait.features.arrays["means"])
    other = load_portrait(tmp_path / "me", model=Several(sha256="1" * 64))
    np.testing.assert_allclose(other.features.arrays["means"], portrait.features.arrays["means"], rtol=1e-5)
    single = load_portrait(tmp_path / "me", model=FakeModel(sha256="2" * 64))
    assert "colour" in single.features.arrays
    assert single.others == ()


def test_a_clip_gives_at_most_the_frames_that_are_wanted(tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), 4 * k, np.uint8) for k in range(60)]
    clip = write_video(tmp_path / "clip.mp4", frames)
    got = [frame.mean() / 4 for frame in spread_frames(clip, 5)]
    assert len(got) == 5
    np.testing.assert_allclose(got, np.linspace(got[0], got[-1], 5), atol=5)  # frames are kept 8 apart
    assert got[0] < 3
    assert got[-1] > 50
    assert is_clip(clip)
    assert not is_clip(PICTURES[0])


def test_the_calmest_frame_is_the_portrait(tmp_path: Path) -> None:
    frames = [np.full((512, 512, 3), 90, np.uint8) for _ in range(2)]
    calm = enroll(PICTURES[0], model=FakeModel())
    side = min(512, *calm.picture.shape[:2])
    frames[1][:side, :side] = calm.picture[:side, :side]
    portrait = enroll(write_video(tmp_path / "clip.mp4", frames), model=Several(), name="clip")
    assert portrait.others == (), "frames without a face are left out"
    assert portrait.motion is not None
    assert calm.motion is not None
    assert unrest(portrait.motion) == pytest.approx(unrest(calm.motion), abs=0.15)


def test_a_clip_without_a_face_is_refused(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 2)
    with pytest.raises(EngineError, match="shows no face: give a video of one person"):
        enroll(clip, model=Several())
    with pytest.raises(EngineError, match="leave out --aligned"):
        enroll(clip, model=Several(), aligned=True)
