"""The evaluation on generators whose figures are known: a copy of the source, a copy of the driver."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from engine.stages.crop import cut, portrait_box
from engine.types import CropBox, Image, Mode, MotionCode
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import bundled, driver_clip, first_face
from training.data.pack import Packer, Segment
from training.data.pairs import FramePack
from training.evaluation.evaluate import (
    Clip,
    Tally,
    calmest,
    copy_driver,
    copy_source,
    cross_pairs,
    evaluate_cross,
    evaluate_same,
    load_clips,
    model_generator,
)

FRAMES = 8


def _moving(name: str) -> list[Image]:
    """A person who moves: the driver as filmed, a portrait rocked by the camera."""
    if name == "driver":
        box = portrait_box(first_face())
        return [cut(image, box, 192) for image in driver_clip()[8 : 8 + 2 * FRAMES : 2]]
    side = float(bundled(name).shape[0])
    return [cut(bundled(name), CropBox(x_px=6.0 * i, y_px=3.0 * i, size_px=side), 192) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> FramePack:
    folder = tmp_path_factory.mktemp("pack")
    packer = Packer(folder, size=192)
    for name, validation in (("driver", True), ("linn.png", True), ("kofi.png", False)):
        packer.begin(Segment(file=name, identity=name, validation=validation))
        for image in _moving(name):
            assert packer.keep(np.ascontiguousarray(image))
    packer.close()
    return FramePack(folder, validation=True)


@pytest.fixture(scope="module")
def clips(pack: FramePack) -> list[Clip]:
    return load_clips(pack, FRAMES)


def test_only_validation_people_with_enough_frames_are_measured(pack: FramePack, clips: list[Clip]) -> None:
    assert [clip.identity for clip in clips] == ["driver", "linn.png"]
    assert all(len(clip.images) == len(clip.motions) == FRAMES for clip in clips)
    assert load_clips(pack, FRAMES + 1) == []


def test_landmarks_of_a_clip_are_pixels_of_its_pictures(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.landmarks[..., 0].min() > 20
        assert clip.landmarks[..., 0].max() < 180
        assert np.ptp(clip.landmarks[0, :, 1]) > 60


def test_copying_the_driver_follows_with_gain_one_and_leaks_everything(clips: list[Clip]) -> None:
    figures = evaluate_cross(clips[::-1], copy_driver, Mode.EXP, 1)  # she drives linn
    assert figures["lost_share"] == 0
    followed = {name: value for name, value in figures.items() if name.endswith(("_gain", "_correlation"))}
    assert len(followed) >= 4, "the driver's clip moves in several ways"
    for name, value in followed.items():
        assert value == pytest.approx(1.0, abs=0.15), name
    assert figures["pose_from_portrait_deg"] > 2


def test_copying_the_source_has_no_gain(clips: list[Clip]) -> None:
    figures = evaluate_cross(clips[::-1], copy_source, Mode.EXP, 1)
    gains = [value for name, value in figures.items() if name.endswith("_gain")]
    assert len(gains) >= 2
    assert np.abs(gains).max() < 0.1
    assert figures["sharpness"] == pytest.approx(1.0, abs=0.05)
    assert figures["pose_from_portrait_deg"] < 2


def test_against_itself_the_driver_is_exact_and_the_source_is_not(clips: list[Clip]) -> None:
    exact, floor = evaluate_same(clips, copy_driver), evaluate_same(clips, copy_source)
    assert exact["psnr"] > 100
    assert exact["ssim"] == pytest.approx(1.0, abs=1e-4)
    assert exact["l1"] == 0
    assert floor["psnr"] < 40
    assert floor["landmark_error"] > 3 * exact["landmark_error"]


def test_a_result_without_a_face_is_counted_as_lost(clips: list[Clip]) -> None:
    def black(portrait: Image, *_: object) -> Image:
        return np.zeros_like(portrait)

    figures = evaluate_cross(clips, black, Mode.BOTH, 2)
    assert figures == {"lost_share": 1.0}
    assert evaluate_same(clips, black)["missing"] == 2 * (FRAMES - 1)


def test_everybody_is_portrait_and_driver_and_nobody_drives_themselves(clips: list[Clip]) -> None:
    three = [*clips, clips[0]]
    pairs = cross_pairs(three, 99)
    assert len(pairs) == 6
    assert len(cross_pairs(three, 4)) == 4
    assert cross_pairs(clips, 99) == [(clips[0], clips[1]), (clips[1], clips[0])]


def test_the_calmest_frame_has_open_eyes_and_a_closed_mouth(clips: list[Clip]) -> None:
    clip = clips[0]
    at = calmest(clip)
    jaw_and_blink = clip.blendshapes[:, [25, 9, 10]].sum(axis=1)
    assert jaw_and_blink[at] <= np.median(jaw_and_blink) + 0.2


def test_a_model_encodes_each_portrait_once_and_never_draws_another(clips: list[Clip]) -> None:
    model = FakeModel()
    generate = model_generator(model)
    twice = [generate(clips[0].images[0], *_rest(clips)) for _ in range(2)]
    assert model.encoded == 1
    assert not np.shares_memory(*twice)
    for image in (clips[0].images[0], clips[1].images[0]):
        # A fresh array may lie where the last one did.
        portrait = np.array(image)
        result = generate(portrait, *_rest(clips))
        assert np.abs(result[0, 0] - portrait.mean(axis=(0, 1))).max() < 1
        del portrait


def _rest(clips: list[Clip]) -> tuple[MotionCode, Image, MotionCode, Mode]:
    return clips[0].motions[0], clips[0].images[1], clips[0].motions[1], Mode.EXP


def test_what_is_not_a_number_is_counted_apart() -> None:
    tally = Tally()
    for value in (1.0, 3.0, float("nan"), float("inf")):
        tally.add("figure", value)
    assert tally.means() == {"figure": 2.0, "missing": 2.0}
