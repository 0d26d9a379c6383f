"""Motion edit: modes, gains, limits, mirror and the driver's neutral."""

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.motion import pose_vector, shape_change
from mimicam.engine.face.regions import expression_gains
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
NEUTRAL = motion(pose(yaw=-3, at=(0.0, -0.15), scale=0.38), eyeBlinkLeft=0.2, jawOpen=0.05)
DRIVER = motion(pose(yaw=20, pitch=8, roll=-6, at=(0.2, -0.1), scale=0.45), jawOpen=0.7, mouthSmileLeft=0.6)

_LIVELY = motion(pose(yaw=2), jawOpen=0.6, browInnerUp=0.7, browOuterUpRight=0.7, eyeBlinkLeft=0.8)
LIVELY = replace(_LIVELY, shape=_LIVELY.shape + shape_change(_LIVELY.expression - resting_face().expression))
"""Its landmarks follow its blendshapes."""


def edit(
    portrait: MotionCode, driver: MotionCode, neutral: MotionCode | None, settings: EditSettings
) -> Conditioning:
    """Return the conditioning of an edit: relative to a neutral, absolute without one."""
    known = None if neutral is None else Neutral(face=neutral, expression=read_expression(driver))
    settings = replace(settings, expression_motion=MotionReference.RELATIVE)
    return build_conditioning(portrait, MotionEdit(portrait)(driver, known, settings))


def edit_expression(portrait: MotionCode, driver: MotionCode, neutral: MotionCode, gain: float) -> Float:
    """Return target blendshapes, relative to a neutral."""
    gains = expression_gains(EditSettings(expression_gain=gain))
    return relative_expression(portrait, driver, neutral, gains).expression


def absolute(portrait: MotionCode, driver: MotionCode, gain: float = 1.0) -> MotionCode:
    """Return the portrait with the driver's expression."""
    gains = expression_gains(EditSettings(expression_gain=gain))
    return absolute_expression(portrait, read_expression(portrait), read_expression(driver), gains)


def _angles(found: np.ndarray) -> np.ndarray:
    cosine = (np.trace(found) - 1) / 2
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("neutral", [None, NEUTRAL], ids=["absolute", "relative"])
def test_expression_mode_leaves_the_pose_exactly(neutral: object) -> None:
    conditioning = edit(PORTRAIT, DRIVER, neutral, EditSettings(mode=Mode.EXP))  # type: ignore[arg-type]
    assert (conditioning.pose[1] == pose_vector(PORTRAIT.pose)).all()
    assert conditioning.affine == pytest.approx(np.eye(2, 3, dtype=np.float32), abs=0.12), "the head stays"
    assert not (conditioning.expression[1] == PORTRAIT.expression).all()
    assert not (conditioning.target_points == conditioning.source_points).all()


@pytest.mark.parametrize("neutral", [None, NEUTRAL], ids=["absolute", "relative"])
def test_pose_mode_leaves_the_expression_exactly(neutral: object) -> None:
    conditioning = edit(PORTRAIT, DRIVER, neutral, EditSettings(mode=Mode.POSE))  # type: ignore[arg-type]
    assert (conditioning.expression[1] == PORTRAIT.expression).all()
    assert not (conditioning.pose[1] == conditioning.pose[0]).all()


def test_both_is_the_two_edits_together() -> None:
    exp, turn, both = (edit(PORTRAIT, DRIVER, NEUTRAL, EditSettings(mode=m)) for m in Mode)
    assert (both.expression[1] == exp.expression[1]).all()
    assert (both.pose[1] == turn.pose[1]).all()


def test_without_gain_the_portrait_rests() -> None:
    conditioning = edit(PORTRAIT, DRIVER, NEUTRAL, EditSettings(expression_gain=0.0, pose_gain=0.0))
    assert (conditioning.expression[1] == PORTRAIT.expression).all()
    assert (conditioning.pose[1] == pose_vector(PORTRAIT.pose)).all()
    assert (conditioning.target_points == conditioning.source_points).all()


def test_without_a_neutral_motion_is_absolute() -> None:
    conditioning = edit(PORTRAIT, DRIVER, None, EditSettings())
    assert conditioning.expression[1] == pytest.approx(DRIVER.expression, abs=1e-6)
    assert conditioning.pose[1] == pytest.approx(pose_vector(DRIVER.pose), abs=1e-5)


def test_the_drivers_neutral_is_the_portraits_neutral() -> None:
    conditioning = edit(PORTRAIT, NEUTRAL, NEUTRAL, EditSettings())
    assert conditioning.expression[1] == pytest.approx(PORTRAIT.expression, abs=1e-6)
    assert conditioning.pose[1] == pytest.approx(pose_vector(PORTRAIT.pose), abs=1e-5)


@pytest.mark.parametrize("own", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("rest", [0.0, 0.1, 0.25])
def test_a_closed_eye_closes_whatever_the_lids_resting_places(own: float, rest: float) -> None:
    portrait, neutral = motion(eyeBlinkLeft=own), motion(eyeBlinkLeft=rest)
    closed = edit_expression(portrait, motion(eyeBlinkLeft=1.0), neutral, 1.0)
    assert closed[NAMES.index("eyeBlinkLeft")] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("rest", [0.2, 0.25])
def test_an_eye_wider_than_neutral_opens_the_portraits(rest: float) -> None:
    portrait, neutral = motion(eyeBlinkLeft=0.15), motion(eyeBlinkLeft=rest)
    opened = edit_expression(portrait, motion(eyeBlinkLeft=0.0), neutral, 1.0)
    assert opened[NAMES.index("eyeBlinkLeft")] == pytest.approx(0.0, abs=1e-5)


def test_a_driver_who_started_with_closed_eyes_opens_them() -> None:
    asleep = motion(eyeBlinkLeft=1.0)
    awake = edit_expression(motion(eyeBlinkLeft=0.1), motion(eyeBlinkLeft=0.1), asleep, 1.0)
    still = edit_expression(motion(eyeBlinkLeft=0.1), asleep, asleep, 1.0)
    assert awake[NAMES.index("eyeBlinkLeft")] < 0.1
    assert still[NAMES.index("eyeBlinkLeft")] > 0.9, "closed is closed, whatever was taken for neutral"


def test_expression_grows_with_its_gain_and_ends_at_its_limits() -> None:
    jaw = NAMES.index("jawOpen")
    values = [edit_expression(PORTRAIT, DRIVER, NEUTRAL, gain)[jaw] for gain in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[0] == PORTRAIT.expression[jaw]
    assert values[-1] == 1.0
    assert absolute(DRIVER, PORTRAIT, 2.0).expression.min() >= 0.0


def test_a_turn_is_scaled_by_the_gain() -> None:
    portrait, neutral, driver = pose(), pose(), pose(yaw=20)
    for gain in (0.5, 1.0, 1.5):
        found = edit_pose(portrait, driver, neutral, gain)
        assert np.rad2deg(found.angles_rad()[0]) == pytest.approx(20 * gain, abs=1e-3)


def test_the_pose_stays_within_what_training_has_seen() -> None:
    portrait, neutral = pose(), pose(scale=0.4)
    far = edit_pose(portrait, pose(yaw=85, at=(3.0, -3.0), scale=4.0), neutral, 1.5)
    assert _angles(far.rotation @ portrait.rotation.T) == pytest.approx(50, abs=0.1)
    assert far.scale == pytest.approx(1.6 * portrait.scale)
    assert far.translation - portrait.translation == pytest.approx([0.6, -0.6], abs=1e-5)
    near = edit_pose(portrait, pose(scale=0.01), neutral, 1.0)
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


def test_mirroring_keeps_the_neutral_and_reverses_a_turn() -> None:
    settings = EditSettings(mirror=True)
    rest = edit(PORTRAIT, NEUTRAL, NEUTRAL, settings)
    assert rest.pose[1] == pytest.approx(pose_vector(PORTRAIT.pose), abs=1e-5)
    plain = edit(motion(), motion(pose(yaw=20)), motion(), EditSettings())
    flipped = edit(motion(), motion(pose(yaw=20)), motion(), settings)
    assert flipped.pose[1, 2] == pytest.approx(-plain.pose[1, 2], abs=1e-5)


def test_motion_beyond_blendshapes_comes_from_landmarks() -> None:
    neutral = motion()
    shape = neutral.shape.copy()
    shape[[14, 17, 87, 317], 1] += 0.1  # the lower lip
    beyond = residual_displacement(replace(neutral, shape=shape), neutral)
    assert beyond[14, 1] == pytest.approx(0.09, abs=0.02)
    assert np.abs(beyond[10, :2]).max() < 0.02, "the forehead"
    slipped = neutral.shape.copy()
    slipped[14, 1] += 5.0
    assert np.abs(residual_displacement(replace(neutral, shape=slipped), neutral)).max() <= 0.2


def test_a_driver_at_rest_transfers_no_identity() -> None:
    own = motion().shape * np.array([1.1, 0.9, 1.0], np.float32)
    neutral = replace(motion(), shape=own)
    assert not residual_displacement(neutral, neutral).any()
    assert absolute(neutral, neutral).shape == pytest.approx(own, abs=1e-5)


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
def test_absolute_motion_ignores_the_portraits_own_expression(own: dict[str, float]) -> None:
    """Portraits of one person with any expression give the same face at rest."""
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


@pytest.mark.parametrize("reference", MotionReference)
def test_a_region_without_gain_rests_and_the_others_follow(reference: MotionReference) -> None:
    """Landmarks too: the jaw's share of the chin is its own, the brow's share of the brow."""
    neutral = Neutral(face=NEUTRAL, expression=read_expression(LIVELY))
    full, still, quiet = (
        MotionEdit(PORTRAIT)(LIVELY, neutral, EditSettings(expression_motion=reference, **gains))
        for gains in ({}, {"expression_gain": 0.0}, {"jaw_gain": 0.0})
    )
    for name in NAMES:
        wanted = still if name.startswith("jaw") else full
        assert quiet.expression[NAMES.index(name)] == pytest.approx(
            wanted.expression[NAMES.index(name)], abs=1e-6
        )
    chin, brow = 152, 105
    whole, left = (np.abs(each.shape - still.shape)[:, 1] for each in (full, quiet))
    assert left[chin] < 0.35 * whole[chin], "some of it is the mouth's"
    assert left[brow] > 0.8 * whole[brow] > 0.01


def test_gains_of_all_regions_together_are_the_expressions_gain() -> None:
    neutral = Neutral(face=NEUTRAL, expression=read_expression(LIVELY))
    regions = EditSettings(eyes_gain=0.5, brows_gain=0.5, mouth_gain=0.5, jaw_gain=0.5)
    by_region = MotionEdit(PORTRAIT)(LIVELY, neutral, regions)
    at_once = MotionEdit(PORTRAIT)(LIVELY, neutral, EditSettings(expression_gain=0.5))
    assert by_region.expression == pytest.approx(at_once.expression, abs=1e-6)
    assert by_region.shape == pytest.approx(at_once.shape, abs=1e-5)


def test_expression_and_pose_choose_their_references_apart() -> None:
    neutral = Neutral(face=NEUTRAL, expression=read_expression(DRIVER))
    edits = {
        (e, p): MotionEdit(PORTRAIT)(DRIVER, neutral, EditSettings(expression_motion=e, pose_motion=p))
        for e in MotionReference
        for p in MotionReference
    }
    for e, p in edits:
        wanted = (
            absolute(PORTRAIT, DRIVER)
            if e is MotionReference.ABSOLUTE
            else relative_expression(PORTRAIT, DRIVER, NEUTRAL, expression_gains(EditSettings()))
        )
        assert edits[e, p].expression == pytest.approx(wanted.expression, abs=1e-6)
        head = edit_pose(
            PORTRAIT.pose, DRIVER.pose, None if p is MotionReference.ABSOLUTE else NEUTRAL.pose, 1.0
        )
        assert edits[e, p].pose.rotation == pytest.approx(head.rotation, abs=1e-6)
