"""Image-driven reenactment, by stage and through the pipeline, with a model of readable codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Features, LatentCodes, check_own
from mimicam.engine.models.dpe.edit import BranchEdit
from mimicam.engine.models.image_driven import BranchCodes, ImageEncoder, ImageMotion, LatentNeutral
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import Portrait
from mimicam.engine.stages.crop import Crop
from mimicam.engine.stages.lost import CARD_S, EASE_S, HOLD_S, RETURN_S
from mimicam.engine.types import (
    CropBox,
    EditSettings,
    Face,
    Float,
    Frame,
    Image,
    Mode,
    MotionCode,
    MotionReference,
)
from tests.models.fakes import ImageDriven
from tests.stages.material import SECOND_NS, face_at, motion

SIDE = 64
CALM, SMILING = motion(), motion(jawOpen=0.6, mouthSmileLeft=0.9, mouthSmileRight=0.9)


class GreyModel(ImageDriven):
    """Model that draws grey.

    Expression is the picture's mean, pose the difference of its halves.
    """

    name, backend, sha256, size = "grey", "no network", "0" * 64, SIDE

    def __init__(self) -> None:
        self.targets: list[tuple[Float | None, ...]] = []

    def encode(self, crop: Image) -> Features:
        codes = self.read_motion(crop)
        return Features(arrays={"expression": codes.expression, "pose": codes.pose}, model=self.sha256)

    def read_motion(self, crop: Image) -> LatentCodes:
        left, right = crop[:, : SIDE // 2].mean(), crop[:, SIDE // 2 :].mean()
        return _codes((left + right) / 2, right - left)

    def own_codes(self, features: Features) -> LatentCodes:
        check_own(features, self.sha256)
        return LatentCodes(expression=features.arrays["expression"], pose=features.arrays["pose"])

    def generate(self, features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        check_own(features, self.sha256)
        self.targets.append((expression, pose))
        return np.full((SIDE, SIDE, 3), 128, np.uint8)

    def last(self) -> tuple[float | None, ...]:
        return tuple(None if code is None else round(float(code[0]), 3) for code in self.targets[-1])


def _codes(expression: float, pose: float) -> LatentCodes:
    return LatentCodes(expression=np.full(4, expression, np.float32), pose=np.full(4, pose, np.float32))


def _motion(
    expression: float, pose: float, tracked: MotionCode = CALM, *, mirror: bool = False
) -> ImageMotion:
    return ImageMotion(codes=_codes(expression, pose), tracked=tracked, mirror=mirror)


def _halves(left: int, right: int) -> Image:
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:, : SIDE // 2], image[:, SIDE // 2 :] = left, right
    return image


def _values(target: BranchCodes) -> tuple[float | None, ...]:
    return tuple(
        None if code is None else round(float(code[0]), 4) for code in (target.expression, target.pose)
    )


def _frame(image: Image, seconds: float) -> Frame:
    return Frame(image=image, seq=0, captured_ns=round(seconds * SECOND_NS))


OWN = _codes(10.0, -2.0)
DRIVER = _motion(30.0, 6.0)


def test_without_neutral_the_drivers_codes_are_added_unchanged() -> None:
    target = BranchEdit(OWN)(DRIVER, None, EditSettings())
    assert target.expression is DRIVER.codes.expression
    assert target.pose is DRIVER.codes.pose


def test_without_neutral_gains_scale_the_distance_from_own_codes() -> None:
    edit = BranchEdit(OWN)
    assert _values(edit(DRIVER, None, EditSettings(expression_gain=0, pose_gain=0))) == (10.0, -2.0)
    assert _values(edit(DRIVER, None, EditSettings(expression_gain=0.5, pose_gain=1.5))) == (20.0, 10.0)


def test_the_drivers_neutral_gives_the_portrait_its_own_codes() -> None:
    edit, relative = BranchEdit(OWN), EditSettings(expression_motion=MotionReference.RELATIVE)
    assert _values(edit(DRIVER, DRIVER, relative)) == (10.0, -2.0)
    stronger = replace(relative, expression_gain=2.0)
    assert _values(edit(_motion(31.0, 4.0), DRIVER, stronger)) == (12.0, -4.0)


def test_expression_is_absolute_while_pose_is_relative() -> None:
    assert _values(BranchEdit(OWN)(DRIVER, _motion(20.0, 5.0), EditSettings())) == (30.0, -1.0)


@pytest.mark.parametrize(
    ("mode", "want"), [(Mode.EXP, (30.0, None)), (Mode.POSE, (None, 6.0)), (Mode.BOTH, (30.0, 6.0))]
)
def test_a_mode_runs_its_branches(mode: Mode, want: tuple[float | None, ...]) -> None:
    assert _values(BranchEdit(OWN)(DRIVER, None, EditSettings(mode=mode))) == want


def test_interpolation_keeps_the_later_targets_branches() -> None:
    both = BranchCodes(expression=OWN.expression, pose=OWN.pose)
    only_pose = BranchCodes(expression=None, pose=DRIVER.codes.pose)
    assert _values(both.towards(only_pose, 0.25)) == (None, 0.0)
    assert _values(only_pose.towards(both, 0.25)) == (10.0, 4.0)


def test_the_neutral_is_the_calmest_face_of_the_start() -> None:
    estimator = LatentNeutral()
    assert estimator(_motion(1, 1, SMILING), 0).codes.expression[0] == 1
    calm = _motion(2, 2, CALM)
    assert estimator(calm, SECOND_NS).codes is calm.codes
    assert estimator(_motion(3, 3, SMILING), 2 * SECOND_NS).codes is calm.codes


def test_calibrate_takes_the_next_face_whatever_it_shows() -> None:
    estimator = LatentNeutral()
    estimator(_motion(2, 2, CALM), 0)
    estimator.calibrate()
    smiling = _motion(3, 3, SMILING)
    assert estimator(smiling, 9 * SECOND_NS).codes is smiling.codes
    assert estimator(_motion(4, 4, CALM), 10 * SECOND_NS).codes is smiling.codes


def test_only_another_neutral_is_a_jump() -> None:
    estimator, jumps = LatentNeutral(), []
    for seconds, shapes_now in ((0, SMILING), (1, CALM), (3, SMILING)):
        jumps.append(estimator(_motion(seconds, 0, shapes_now), seconds * SECOND_NS).jumped)
    estimator.calibrate()
    jumps.append(estimator(_motion(4, 0, SMILING), 4 * SECOND_NS).jumped)
    assert jumps == [False, True, False, True]


def test_a_mirrored_driver_has_another_neutral() -> None:
    estimator = LatentNeutral()
    estimator(_motion(2, 2, CALM), 0)
    turned = _motion(2, -2, SMILING, mirror=True)
    assert estimator(turned, 9 * SECOND_NS).codes is turned.codes


def _crop(image: Image, seconds: float, *, mirror: bool = False) -> Crop:
    box = CropBox(x_px=0, y_px=0, size_px=SIDE)
    return Crop(image=image, box=box, face=None, captured_ns=round(seconds * SECOND_NS), mirror=mirror)


def test_a_mirrored_crop_is_read_turned_over() -> None:
    encode = ImageEncoder(GreyModel())
    assert encode(_crop(_halves(40, 100), 0)).codes.pose[0] == 60
    assert encode(_crop(_halves(40, 100), 0.04, mirror=True)).codes.pose[0] == -60


def test_smoothing_damps_trembling_codes_and_converges() -> None:
    encode = ImageEncoder(GreyModel())
    trembling = [
        encode(_crop(_halves(100 + i % 2, 100 + i % 2), i / 30)).codes.expression[0] for i in range(60)
    ]
    assert 0 < np.ptp(trembling[30:]) < 0.7
    staying = [encode(_crop(_halves(160, 160), 2 + i / 30)).codes.expression[0] for i in range(60)]
    assert staying[0] < 160
    assert staying[-1] == pytest.approx(160, abs=0.01)


def test_after_a_reset_the_next_codes_are_taken_as_they_are() -> None:
    encode = ImageEncoder(GreyModel())
    encode(_crop(_halves(100, 100), 0))
    encode.reset()
    assert encode(_crop(_halves(20, 20), 0.03)).codes.expression[0] == 20


def test_unsmoothed_codes_are_the_models_own() -> None:
    encode = ImageEncoder(GreyModel(), smooth=False)
    encode(_crop(_halves(100, 100), 0))
    assert encode(_crop(_halves(20, 20), 0.03)).codes.expression[0] == 20


class Eyes:
    """Tracker that returns the faces of a test and counts its calls."""

    def __init__(self, face: Face | None) -> None:
        self.face, self.asked, self.person = face, 0, 0

    def __call__(self, _: Image, _captured_ns: int) -> Face | None:
        self.asked += 1
        return self.face


FACE = face_at(SIDE / 2, SIDE * 0.41, SIDE * 0.2)


def _pipeline(
    model: GreyModel,
    eyes: Eyes,
    *,
    mode: Mode = Mode.BOTH,
    aligned: bool = True,
    reference: MotionReference = MotionReference.RELATIVE,
) -> Pipeline:
    crop = _halves(50, 60)
    portrait = Portrait(
        name="p", picture=crop, box=CropBox(x_px=0, y_px=0, size_px=SIDE), crop=crop, motion=None,
        features=model.encode(crop),
    )  # fmt: skip
    edit = EditSettings(mode=mode, expression_motion=reference, pose_motion=reference)
    made = Pipeline(model=model, portrait=portrait, edit=edit, smooth=False, aligned=aligned)
    made.track = eyes  # type: ignore[assignment]
    return made


def test_a_region_has_no_gain_of_its_own() -> None:
    pipeline = _pipeline(GreyModel(), Eyes(FACE))
    with pytest.raises(
        EngineError, match="grey moves the whole expression at once: leave brows-gain, jaw-gain at 1"
    ):
        pipeline.set_edit(EditSettings(brows_gain=0.5, jaw_gain=2.0))


def test_relative_motion_starts_from_the_portraits_own_codes() -> None:
    model = GreyModel()
    pipeline = _pipeline(model, Eyes(FACE))
    pipeline.step(_frame(_halves(100, 130), 0))
    assert model.last() == (55, 10)
    pipeline.step(_frame(_halves(110, 130), 3))
    assert model.last() == (60, 0)
    pipeline.calibrate()
    pipeline.step(_frame(_halves(110, 130), 4))
    assert model.last() == (60, 0), "another neutral does not make the portrait jump"
    pipeline.step(_frame(_halves(110, 130), 5))
    assert model.last() == (55, 10)


def test_absolute_motion_of_aligned_frames_needs_no_tracker() -> None:
    model, eyes = GreyModel(), Eyes(None)
    pipeline = _pipeline(model, eyes, reference=MotionReference.ABSOLUTE)
    pipeline.step(_frame(_halves(100, 130), 0))
    assert model.last() == (115, 30)
    assert eyes.asked == 0
    assert pipeline.status.face == "tracking"


def test_the_drivers_face_is_cut_from_its_box() -> None:
    model = GreyModel()
    pipeline = _pipeline(model, Eyes(face_at(150, 50, 12)), reference=MotionReference.ABSOLUTE, aligned=False)
    image = np.zeros((120, 300, 3), np.uint8)
    image[10:110, 100:200] = 200  # around the face
    pipeline.step(_frame(image, 0))
    assert model.last() == (200, 0)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_lost_face_holds_eases_to_own_codes_and_shows_the_card(mode: Mode) -> None:
    model, eyes = GreyModel(), Eyes(FACE)
    pipeline = _pipeline(model, eyes, mode=mode)
    start, driven = _halves(100, 130), _halves(120, 190)
    pipeline.step(_frame(start, 0))
    pipeline.step(_frame(driven, 1))
    moved, own = _only((95, 50), mode), _only((55, 10), mode)
    assert model.last() == moved
    eyes.face = None
    states = []
    for seconds, want in [
        (1.1, moved), (1.1 + HOLD_S + EASE_S / 2, _only((75, 30), mode)), (1.2 + HOLD_S + EASE_S, own),
        (1.2 + CARD_S, own),
    ]:  # fmt: skip
        result = pipeline.step(_frame(driven, seconds))
        assert model.last() == want
        assert result.image.max() <= 235, "nothing of the driver's picture"
        states.append(pipeline.status.face)
    assert states == ["holding", "easing", "easing", "standby"]
    eyes.face = FACE
    pipeline.step(_frame(driven, 6))
    assert model.last() == own
    pipeline.step(_frame(driven, 6 + RETURN_S))
    assert model.last() == moved


def _only(codes: tuple[float, float], mode: Mode) -> tuple[float | None, float | None]:
    expression, pose = codes
    return None if mode is Mode.POSE else expression, None if mode is Mode.EXP else pose


def test_changing_the_mode_while_the_face_is_lost_keeps_drawing() -> None:
    model, eyes = GreyModel(), Eyes(FACE)
    pipeline = _pipeline(model, eyes, mode=Mode.EXP)
    pipeline.step(_frame(_halves(100, 130), 0))
    eyes.face = None
    pipeline.step(_frame(_halves(0, 0), 0.1))
    pipeline.set_edit(EditSettings(mode=Mode.POSE))
    pipeline.step(_frame(_halves(0, 0), 0.2 + HOLD_S))
    assert model.last() == (None, 10)


def test_mirroring_flips_the_drivers_picture_before_encoding() -> None:
    model = GreyModel()
    pipeline = _pipeline(model, Eyes(None), reference=MotionReference.ABSOLUTE)
    pipeline.set_edit(replace(pipeline.edit, mirror=True))
    frame = _halves(100, 130)
    pipeline.step(_frame(frame, 0))
    assert model.last() == (115, -30)
    assert np.array_equal(frame, _halves(100, 130)), "the frame belongs to the source"


def test_a_portrait_is_switched_between_frames() -> None:
    model = GreyModel()
    pipeline = _pipeline(model, Eyes(FACE))
    pipeline.step(_frame(_halves(100, 100), 0))
    crop = _halves(200, 220)
    other = Portrait(
        name="q", picture=crop, box=CropBox(x_px=0, y_px=0, size_px=SIDE), crop=crop,
        motion=None, features=model.encode(crop),
    )  # fmt: skip
    pipeline.set_portrait(other)
    pipeline.step(_frame(_halves(100, 100), 1))
    assert model.last() == (210, 20)
    assert pipeline.portrait is other
