"""Modes, gains, limits, mirror and the driver's neutral."""

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.motion import pose_vector, shape_change
from mimicam.engine.models.compact.conditioning import Conditioning, build_conditioning
from mimicam.engine.models.compact.edit import (
    MotionEdit,
    absolute_expression,
    edit_pose,
    mirrored,
    relative_expression,
    residual_displacement,
)
from mimicam.engine.stages.neutral import Neutral, read_expression, resting_face
from mimicam.engine.types import EditSettings, Float, Mode, MotionCode, MotionReference
from tests.stages.material import NAMES, motion, pose

PORTRAIT = motion(pose(yaw=5, pitch=-4, roll=2, at=(0.02, -0.2), scale=0.42), eyeBlinkLeft=0.12, jawOpen=0.02)
ANCHOR = motion(pose(yaw=-3, at=(0.0, -0.15), scale=0.38), eyeBlinkLeft=0.2, jawOpen=0.05)
DRIVER = motion(pose(yaw=20, pitch=8, roll=-6, at=(0.2, -0.1), scale=0.45), jawOpen=0.7, mouthSmileLeft=0.6)


def edit(
    portrait: MotionCode, driver: MotionCode, anchor: MotionCode | None, settings: EditSettings
) -> Conditioning:
    """The drive of an edit: relative to an anchor, absolute without one."""
    neutral = None if anchor is None else Neutral(face=anchor, expression=read_expression(driver))
    settings = replace(settings, expression_motion=MotionReference.RELATIVE)
    return build_conditioning(portrait, MotionEdit(portrait)(driver, neutral, settings))


def edit_expression(portrait: MotionCode, driver: MotionCode, anchor: MotionCode, gain: float) -> Float:
    """Target blendshapes, relative to an anchor."""
    return relative_expression(portrait, driver, anchor, gain).expression


def absolute(portrait: MotionCode, driver: MotionCode, gain: float = 1.0) -> MotionCode:
    """The portrait with the driver's expression."""
    return absolute_expression(portrait, read_expression(portrait), read_expression(driver), gain)


def _angles(found: np.ndarray) -> np.ndarray:
    cosine = (np.trace(found) - 1) / 2
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("anchor", [None, ANCHOR], ids=["absolute", "relative"])
def test_expression_mode_leaves_the_pose_exactly(anchor: object) -> None:
    drive = edit(PORTRAIT, DRIVER, anchor, EditSettings(mode=Mode.EXP))  # type: ignore[arg-type]
    assert (drive.pose[1] == pose_vector(PORTRAIT.pose)).all()
    assert drive.affine == pytest.approx(np.eye(2, 3, dtype=np.float32), abs=0.12), "the head stays"
    assert not (drive.expression[1] == PORTRAIT.expression).all()
    assert not (drive.target_points == drive.source_points).all()


@pytest.mark.parametrize("anchor", [None, ANCHOR], ids=["absolute", "relative"])
def test_pose_mode_leaves_the_expression_exactly(anchor: object) -> None:
    drive = edit(PORTRAIT, DRIVER, anchor, EditSettings(mode=Mode.POSE))  # type: ignore[arg-type]
    assert (drive.expression[1] == PORTRAIT.expression).all()
    assert not (drive.pose[1] == drive.pose[0]).all()


def test_both_is_the_two_edits_together() -> None:
    exp, turn, both = (edit(PORTRAIT, DRIVER, ANCHOR, EditSettings(mode=m)) for m in Mode)
    assert (both.expression[1] == exp.expression[1]).all()
    assert (both.pose[1] == turn.pose[1]).all()


def test_without_gain_the_portrait_rests() -> None:
    drive = edit(PORTRAIT, DRIVER, ANCHOR, EditSettings(expression_gain=0.0, pose_gain=0.0))
    assert (drive.expression[1] == PORTRAIT.expression).all()
    assert (drive.pose[1] == pose_vector(PORTRAIT.pose)).all()
    assert (drive.target_points == drive.source_points).all()


def test_without_an_anchor_the_drivers_motion_is_taken_as_it_is() -> None:
    drive = edit(PORTRAIT, DRIVER, None, EditSettings())
    assert drive.expression[1] == pytest.approx(DRIVER.expression, abs=1e-6)
    assert drive.pose[1] == pytest.approx(pose_vector(DRIVER.pose), abs=1e-5)


def test_the_drivers_neutral_is_the_portraits_neutral() -> None:
    drive = edit(PORTRAIT, ANCHOR, ANCHOR, EditSettings())
    assert drive.expression[1] == pytest.approx(PORTRAIT.expression, abs=1e-6)
    assert drive.pose[1] == pytest.approx(pose_vector(PORTRAIT.pose), abs=1e-5)


@pytest.mark.parametrize("own", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("rest", [0.0, 0.1, 0.25])
def test_a_closed_eye_closes_whatever_the_lids_resting_places(own: float, rest: float) -> None:
    portrait, anchor = motion(eyeBlinkLeft=own), motion(eyeBlinkLeft=rest)
    closed = edit_expression(portrait, motion(eyeBlinkLeft=1.0), anchor, 1.0)
    assert closed[NAMES.index("eyeBlinkLeft")] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("rest", [0.2, 0.25])
def test_an_eye_wider_than_neutral_opens_the_portraits(rest: float) -> None:
    portrait, anchor = motion(eyeBlinkLeft=0.15), motion(eyeBlinkLeft=rest)
    opened = edit_expression(portrait, motion(eyeBlinkLeft=0.0), anchor, 1.0)
    assert opened[NAMES.index("eyeBlinkLeft")] == pytest.approx(0.0, abs=1e-5)


def test_a_driver_who_started_with_closed_eyes_opens_them() -> None:
    asleep = motion(eyeBlinkLeft=1.0)
    awake = edit_expression(motion(eyeBlinkLeft=0.1), motion(eyeBlinkLeft=0.1), asleep, 1.0)
    still = edit_expression(motion(eyeBlinkLeft=0.1), asleep, asleep, 1.0)
    assert awake[NAMES.index("eyeBlinkLeft")] < 0.1
    assert still[NAMES.index("eyeBlinkLeft")] > 0.9, "closed is closed, whatever was taken for neutral"


def test_expression_grows_with_its_gain_and_ends_at_its_limits() -> None:
    jaw = NAMES.index("jawOpen")
    values = [edit_expression(PORTRAIT, DRIVER, ANCHOR, gain)[jaw] for gain in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[0] == PORTRAIT.expression[jaw]
    assert values[-1] == 1.0
    assert absolute(DRIVER, PORTRAIT, 2.0).expression.min() >= 0.0


def test_a_turn_is_scaled_by_the_gain() -> None:
    portrait, anchor, driver = pose(), pose(), pose(yaw=20)
    for gain in (0.5, 1.0, 1.5):
        found = edit_pose(portrait, driver, anchor, gain)
        assert np.rad2deg(found.angles_rad()[0]) == pytest.approx(20 * gain, abs=1e-3)


def test_the_pose_stays_within_what_training_has_seen() -> None:
    portrait, anchor = pose(), pose(scale=0.4)
    far = edit_pose(portrait, pose(yaw=85, at=(3.0, -3.0), scale=4.0), anchor, 1.5)
    assert _angles(far.rotation @ portrait.rotation.T) == pytest.approx(50, abs=0.1)
    assert far.scale == pytest.approx(1.6 * portrait.scale)
    assert far.translation - portrait.translation == pytest.approx([0.6, -0.6], abs=1e-5)
    near = edit_pose(portrait, pose(scale=0.01), anchor, 1.0)
    assert near.scale == pytest.approx(0.6 * portrait.scale)


def test_moves_are_sized_to_the_portraits_head() -> None:
    big = edit_pose(pose(scale=0.8), pose(at=(0.1, -0.18)), pose(), 1.0)
    assert big.translation[0] == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("expression_gain", 2.1), ("expression_gain", -0.1), ("pose_gain", 1.6)]
)
def test_a_gain_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        EditSettings(**{name: value})


def test_a_mirror_swaps_sides_and_turns_the_other_way() -> None:
    seen = mirrored(DRIVER)
    yaw, pitch, roll = (np.rad2deg(a) for a in seen.pose.angles_rad())
    was = [np.rad2deg(a) for a in DRIVER.pose.angles_rad()]
    assert (yaw, pitch, roll) == pytest.approx((-was[0], was[1], -was[2]), abs=1e-4)
    assert seen.pose.translation == pytest.approx([-0.2, -0.1], abs=1e-6)
    assert seen.expression[NAMES.index("mouthSmileRight")] == pytest.approx(0.6)
    assert seen.expression[NAMES.index("mouthSmileLeft")] == 0.0
    assert np.linalg.det(seen.pose.rotation) == pytest.approx(1.0, abs=1e-5)


def test_a_mirror_twice_is_no_mirror() -> None:
    twice = mirrored(mirrored(DRIVER))
    assert (twice.expression == DRIVER.expression).all()
    assert (twice.pose.rotation == DRIVER.pose.rotation).all()


def test_with_mirror_on_neutral_is_still_neutral_and_a_turn_is_turned_round() -> None:
    settings = EditSettings(mirror=True)
    rest = edit(PORTRAIT, ANCHOR, ANCHOR, settings)
    assert rest.pose[1] == pytest.approx(pose_vector(PORTRAIT.pose), abs=1e-5)
    plain = edit(motion(), motion(pose(yaw=20)), motion(), EditSettings())
    flipped = edit(motion(), motion(pose(yaw=20)), motion(), settings)
    assert flipped.pose[1, 2] == pytest.approx(-plain.pose[1, 2], abs=1e-5)


def test_what_blendshapes_do_not_say_is_taken_from_the_landmarks() -> None:
    anchor = motion()
    shape = anchor.shape.copy()
    shape[[14, 17, 87, 317], 1] += 0.1  # the lower lip
    beyond = residual_displacement(replace(anchor, shape=shape), anchor)
    assert beyond[14, 1] == pytest.approx(0.09, abs=0.02)
    assert np.abs(beyond[10, :2]).max() < 0.02, "the forehead"
    slipped = anchor.shape.copy()
    slipped[14, 1] += 5.0
    assert np.abs(residual_displacement(replace(anchor, shape=slipped), anchor)).max() <= 0.2


def test_a_driver_at_their_neutral_brings_nothing_of_their_own_face() -> None:
    own = motion().shape * np.array([1.1, 0.9, 1.0], np.float32)
    anchor = replace(motion(), shape=own)
    assert not residual_displacement(anchor, anchor).any()
    assert absolute(anchor, anchor).shape == pytest.approx(own, abs=1e-5)


def test_a_mirrored_drivers_mouth_goes_to_the_other_side() -> None:
    crooked = motion()
    shape = crooked.shape.copy()
    shape[61, 1] -= 0.1  # the right corner
    taken = residual_displacement(mirrored(replace(crooked, shape=shape)), mirrored(crooked))
    assert taken[291, 1] < -0.07
    assert abs(taken[61, 1]) < 0.02


@pytest.mark.parametrize(
    "own",
    [
        {"jawOpen": 0.7},
        {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
        {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
        {},
    ],
    ids=["talks", "asleep", "smiles", "calm"],
)
def test_absolutely_the_portraits_own_expression_makes_no_difference(own: dict[str, float]) -> None:
    """Portraits of one person, photographed with any expression, come to one and the same face."""
    portrait = _expressive(own)
    for driver in (_expressive({}), _expressive({"jawOpen": 0.6}), _expressive({"mouthPucker": 0.8})):
        found, wanted = absolute(portrait, driver), absolute(_expressive({}), driver)
        assert found.expression == pytest.approx(driver.expression, abs=1e-5)
        assert found.shape == pytest.approx(wanted.shape, abs=0.06), "head units; a wide open mouth is 0.5"


def _expressive(values: dict[str, float]) -> MotionCode:
    face = motion(**values)
    return replace(face, shape=face.shape + shape_change(face.expression))


def test_absolute_gain_scales_the_way_from_the_resting_face() -> None:
    smiling = motion(mouthSmileLeft=0.5)
    index, rest = NAMES.index("mouthSmileLeft"), resting_face().expression
    for gain in (0.0, 0.5, 1.5):
        wanted = rest[index] + gain * (0.5 - rest[index])
        for portrait in (motion(), motion(mouthSmileLeft=0.9)):
            assert absolute(portrait, smiling, gain).expression[index] == pytest.approx(wanted, abs=1e-5)


def test_expression_and_pose_choose_their_references_apart() -> None:
    neutral = Neutral(face=ANCHOR, expression=read_expression(DRIVER))
    edits = {
        (e, p): MotionEdit(PORTRAIT)(DRIVER, neutral, EditSettings(expression_motion=e, pose_motion=p))
        for e in MotionReference
        for p in MotionReference
    }
    for e, p in edits:
        wanted = (
            absolute(PORTRAIT, DRIVER)
            if e == "absolute"
            else relative_expression(PORTRAIT, DRIVER, ANCHOR, 1.0)
        )
        assert edits[e, p].expression == pytest.approx(wanted.expression, abs=1e-6)
        head = edit_pose(PORTRAIT.pose, DRIVER.pose, None if p == "absolute" else ANCHOR.pose, 1.0)
        assert edits[e, p].pose.rotation == pytest.approx(head.rotation, abs=1e-6)
