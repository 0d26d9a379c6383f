"""Modes, gains, limits, mirror and the driver's neutral."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from engine.stages.edit import (
    AutoAnchor,
    EasedAnchor,
    between,
    edit,
    edit_expression,
    edit_pose,
    mirrored,
    unexplained,
    unrest,
)
from engine.stages.motion import pose_vector
from engine.types import EditSettings, Mode, MotionCode
from tests.stages.material import NAMES, SECOND_NS, motion, pose

PORTRAIT = motion(pose(yaw=5, pitch=-4, roll=2, at=(0.02, -0.2), scale=0.42), eyeBlinkLeft=0.12, jawOpen=0.02)
ANCHOR = motion(pose(yaw=-3, at=(0.0, -0.15), scale=0.38), eyeBlinkLeft=0.2, jawOpen=0.05)
DRIVER = motion(pose(yaw=20, pitch=8, roll=-6, at=(0.2, -0.1), scale=0.45), jawOpen=0.7, mouthSmileLeft=0.6)


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
    assert edit_expression(DRIVER, PORTRAIT, None, 2.0).min() >= 0.0


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


def test_the_calmest_face_of_the_first_two_seconds_is_neutral() -> None:
    anchor = AutoAnchor()
    restless, calm, calmer = motion(jawOpen=0.8), motion(jawOpen=0.2), motion(jawOpen=0.01)
    assert anchor(restless, 0) is restless
    assert anchor(calm, SECOND_NS) is calm
    assert anchor(restless, SECOND_NS + 1) is calm
    assert anchor(calmer, 2 * SECOND_NS) is calm, "settled: a later calm face changes nothing"


def test_calibrate_takes_the_next_face_and_keeps_it() -> None:
    anchor = AutoAnchor()
    calm, restless, calmer = motion(jawOpen=0.2), motion(jawOpen=0.6), motion()
    anchor(calm, 0)
    anchor.calibrate()
    assert anchor(restless, 1) is restless
    assert anchor(calmer, 2) is restless, "asked for: not replaced by a calmer one"
    assert anchor(calmer, 9 * SECOND_NS) is restless


def _yaw(found: MotionCode) -> float:
    return float(np.rad2deg(found.pose.angles_rad()[0]))


def _eased(anchor: EasedAnchor, face: MotionCode, seconds: Iterable[float]) -> np.ndarray:
    """The neutral's yaw while this face is seen, degrees."""
    return np.array([_yaw(anchor(face, round(s * SECOND_NS))) for s in seconds])


def test_a_calmer_face_becomes_neutral_within_a_third_of_a_second_and_without_a_jump() -> None:
    anchor = EasedAnchor()
    first, calm = motion(pose(yaw=10), jawOpen=0.5), motion(jawOpen=0.02)
    assert anchor(first, 0) is first
    yaws = _eased(anchor, calm, np.arange(0.033, 0.35, 0.033))
    steps = -np.diff(yaws, prepend=10.0)
    assert (steps > 0).all(), "straight there"
    assert steps.max() < 3.0
    assert steps[0] < steps[1], "starts softly"
    assert abs(yaws[-1]) < 0.5
    jaw = anchor(calm, round(0.4 * SECOND_NS)).expression[NAMES.index("jawOpen")]
    assert jaw == pytest.approx(0.02, abs=0.01)
    assert anchor(calm, 2 * SECOND_NS) is calm, "in the end exactly"


def test_calibrate_eases_too_and_ends_at_the_face_that_was_taken() -> None:
    anchor = EasedAnchor()
    _eased(anchor, motion(), np.arange(0, 3, 0.04))
    anchor.calibrate()
    turned = motion(pose(yaw=15), mouthSmileLeft=0.6)
    yaws = _eased(anchor, turned, np.arange(3, 3.4, 0.04))
    assert 0 < yaws[0] < 4.5
    assert np.diff(yaws).max() < 4.5
    assert yaws[-1] > 14
    assert anchor(turned, 5 * SECOND_NS) is turned


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_a_neutral_eases_by_the_frames_times_and_not_their_number(fps: int) -> None:
    anchor = EasedAnchor()
    anchor(motion(pose(yaw=10), jawOpen=0.5), 0)
    yaws = _eased(anchor, motion(), np.arange(1, round(0.3 * fps) + 1) / fps)
    assert yaws[-1] == pytest.approx(0.35, abs=0.25)


def test_while_a_driver_comes_to_rest_the_neutral_stays_near_them() -> None:
    anchor = EasedAnchor()
    times = np.arange(0, 1.5, 0.033)
    turns = 10 - 10 * times / 1.5
    apart = [
        _yaw(anchor(motion(pose(yaw=yaw)), round(s * SECOND_NS))) - yaw
        for s, yaw in zip(times, turns, strict=True)
    ]
    assert np.abs(apart).max() < 1.5


def test_a_face_between_two_is_a_face() -> None:
    a, b = motion(pose(yaw=20, at=(0.0, 0.0)), jawOpen=0.2), motion(pose(yaw=-10, at=(0.2, 0.0), scale=0.6))
    half = between(a, b, 0.5)
    assert _yaw(half) == pytest.approx(5, abs=0.1)
    assert np.linalg.det(half.pose.rotation) == pytest.approx(1.0, abs=1e-5)
    assert (half.pose.translation[0], half.pose.scale) == pytest.approx((0.1, 0.5), abs=1e-6)
    assert half.expression[NAMES.index("jawOpen")] == pytest.approx(0.1)
    assert {array.dtype for array in (half.expression, half.shape, half.pose.rotation)} == {
        np.dtype(np.float32)
    }


def test_reset_looks_for_the_neutral_anew() -> None:
    anchor = AutoAnchor()
    first, second = motion(), motion(jawOpen=0.5)
    anchor(first, 0)
    anchor.reset()
    assert anchor(second, 60 * SECOND_NS) is second


def test_unrest_counts_expression_and_turn() -> None:
    assert unrest(motion()) == pytest.approx(0.0, abs=1e-4)
    assert unrest(motion(jawOpen=0.5)) > unrest(motion(jawOpen=0.1)) > 0
    assert unrest(motion(pose(yaw=20))) > unrest(motion(pose(yaw=5))) > 0
    assert unrest(replace(motion(), pose=pose(yaw=-20))) == pytest.approx(
        unrest(motion(pose(yaw=20))), abs=1e-4
    )


def test_what_blendshapes_do_not_say_is_taken_from_the_landmarks() -> None:
    anchor = motion()
    shape = anchor.shape.copy()
    shape[[14, 17, 87, 317], 1] += 0.1  # the lower lip
    beyond = unexplained(PORTRAIT, replace(anchor, shape=shape), anchor)
    assert beyond[14, 1] == pytest.approx(0.09, abs=0.02)
    assert np.abs(beyond[10, :2]).max() < 0.02, "the forehead"
    slipped = anchor.shape.copy()
    slipped[14, 1] += 5.0
    assert np.abs(unexplained(PORTRAIT, replace(anchor, shape=slipped), anchor)).max() <= 0.2


def test_a_driver_at_their_neutral_brings_nothing_of_their_own_face() -> None:
    own = motion().shape * np.array([1.1, 0.9, 1.0], np.float32)
    anchor = replace(motion(), shape=own)
    assert not unexplained(PORTRAIT, anchor, anchor).any()
    assert not unexplained(anchor, anchor, None).any()


def test_a_mirrored_drivers_mouth_goes_to_the_other_side() -> None:
    crooked = motion()
    shape = crooked.shape.copy()
    shape[61, 1] -= 0.1  # the right corner
    taken = unexplained(PORTRAIT, mirrored(replace(crooked, shape=shape)), mirrored(crooked))
    assert taken[291, 1] < -0.07
    assert abs(taken[61, 1]) < 0.02
