"""The evaluation on generators whose figures are known: a copy of the source, a copy of the driver."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.types import Image, Mode, MotionCode
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs, load_clips
from mimicam.training.evaluation.evaluate import Tally, evaluate_cross, evaluate_same
from mimicam.training.evaluation.methods import TrackerGenerator, copy_driver, copy_source
from mimicam.training.evaluation.metrics import GROUPS
from tests.pipeline.fake_model import FakeModel
from tests.training.evaluation.conftest import FRAMES


def test_only_validation_people_with_enough_frames_are_measured(pack: FramePack, clips: list[Clip]) -> None:
    assert [clip.identity for clip in clips] == ["driver", "rosa.jpg"]
    assert all(len(clip.images) == len(clip.motions) == FRAMES for clip in clips)
    assert load_clips(pack, FRAMES + 1) == []


def test_landmarks_of_a_clip_are_pixels_of_its_pictures(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.landmarks[..., 0].min() > 20
        assert clip.landmarks[..., 0].max() < 180
        assert np.ptp(clip.landmarks[0, :, 1]) > 60


def test_copying_the_driver_has_gain_one_and_leaks(clips: list[Clip]) -> None:
    figures = evaluate_cross(clips[::-1], copy_driver, Mode.EXP, 1)  # she drives rosa
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


def test_the_leak_is_the_gain_of_what_the_mode_shall_leave_alone(clips: list[Clip]) -> None:
    exp, pose, both = (evaluate_cross(clips[::-1], copy_driver, mode, 1) for mode in Mode)
    angles = [abs(exp[f"{name}_gain"]) for name in ("yaw", "pitch", "roll") if f"{name}_gain" in exp]
    shapes = [abs(pose[f"{name}_gain"]) for name in GROUPS if f"{name}_gain" in pose]
    assert exp["pose_leak"] == pytest.approx(np.mean(angles), abs=1e-3)
    assert pose["expression_leak"] == pytest.approx(np.mean(shapes), abs=1e-3)
    assert not {"pose_leak", "expression_leak"} & both.keys()
    assert evaluate_cross(clips[::-1], copy_source, Mode.EXP, 1)["pose_leak"] < 0.1


def test_aed_and_apd_are_distances_to_what_the_mode_aims_at(clips: list[Clip]) -> None:
    """The driver's expression on the portrait's head in exp, the reverse in pose (DPE, tables 1 and 2)."""
    source, driver = (
        {mode: evaluate_cross(clips[::-1], copy, mode, 1) for mode in Mode}
        for copy in (copy_source, copy_driver)
    )
    for mode, moved, kept in (
        (Mode.EXP, "tracker_aed", "tracker_apd"),
        (Mode.POSE, "tracker_apd", "tracker_aed"),
    ):
        assert driver[mode][moved] < 0.3 * source[mode][moved]
        assert source[mode][kept] < 0.3 * driver[mode][kept]
    assert driver[Mode.BOTH]["tracker_aed"] == driver[Mode.EXP]["tracker_aed"]
    assert driver[Mode.BOTH]["tracker_apd"] == driver[Mode.POSE]["tracker_apd"]


def test_one_person_is_measured_in_all_three_settings(clips: list[Clip]) -> None:
    for mode in Mode:
        figures = evaluate_same(clips[:1], copy_driver, mode)
        gains = [value for name, value in figures.items() if name.endswith("_gain")]
        assert len(gains) >= 2
        assert gains == pytest.approx([1.0] * len(gains), abs=0.15)
        assert ("psnr" in figures) == (mode is Mode.BOTH), "only there the driver's frames are the truth"


def test_the_driver_is_exact_against_itself(clips: list[Clip]) -> None:
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


def test_everyone_is_portrait_and_driver_of_others(clips: list[Clip]) -> None:
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


def test_a_model_encodes_each_portrait_once(clips: list[Clip]) -> None:
    model = FakeModel()
    generate = TrackerGenerator(model)
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
