"""Gaze: what is read from landmarks, and what is left to the eye warp."""

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import place
from mimicam.engine.models.compact.gaze import eye_shifts, with_drawn_irises, with_horizontal_gaze
from mimicam.engine.models.compact.reenactor import TrackerEdit
from mimicam.engine.types import EditSettings, Mode, MotionCode
from tests.stages.material import NAMES, motion, pose

IRISES = [*range(468, 473), *range(473, 478)]


def looking(motion_: MotionCode, right: float, *, down: float = 0.0) -> MotionCode:
    """The same face with its irises moved, canonical units."""
    shape = motion_.shape.copy()
    shape[IRISES, 0] += right
    shape[IRISES, 1] += down
    return replace(motion_, shape=shape)


def shifts(drawn: MotionCode, wanted: MotionCode) -> list[float]:
    return [eye.shift for eye in eye_shifts(*(place(m.shape, m.pose) for m in (drawn, wanted)))]


def test_the_same_gaze_asks_for_no_shift() -> None:
    assert shifts(motion(), motion()) == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("head", [pose(), pose(yaw=20), pose(roll=30)])
def test_a_look_to_the_right_moves_both_irises_to_the_right(head: object) -> None:
    face = motion(head)
    small, large = shifts(face, looking(face, 0.02)), shifts(face, looking(face, 0.04))
    assert min(small) > 0.05
    assert large == pytest.approx([2 * s for s in small], rel=0.05)


def test_crossed_eyes_move_towards_each_other() -> None:
    face = motion()
    shape = face.shape.copy()
    shape[468:473, 0] += 0.03
    shape[473:478, 0] -= 0.03
    first, second = shifts(face, replace(face, shape=shape))
    assert first > 0.05
    assert second < -0.05


def test_a_closed_eye_keeps_its_iris() -> None:
    face = motion(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    closed = face.shape.copy()
    for upper, lower in ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373)):
        closed[upper] = closed[lower]
    face = replace(face, shape=closed)
    assert shifts(face, looking(face, 0.04)) == pytest.approx([0.0, 0.0])


def test_only_horizontal_gaze_is_taken_from_the_other() -> None:
    own, driver = motion(), looking(motion(eyeLookOutLeft=0.8, eyeLookDownLeft=0.5), 0.03, down=0.02)
    drawn = with_horizontal_gaze(driver, own)
    assert drawn.shape[IRISES, 0] == pytest.approx(own.shape[IRISES, 0], abs=2e-3)
    assert drawn.shape[IRISES, 1] == pytest.approx(driver.shape[IRISES, 1], abs=2e-3)
    assert drawn.expression[NAMES.index("eyeLookOutLeft")] == own.expression[NAMES.index("eyeLookOutLeft")]
    assert drawn.expression[NAMES.index("eyeLookDownLeft")] == pytest.approx(0.5)
    others = np.delete(np.arange(478), IRISES)
    assert np.array_equal(drawn.shape[others], driver.shape[others])


def test_the_generator_moves_irises_up_and_down_with_the_lids_alone() -> None:
    own = motion()
    still = with_drawn_irises(looking(own, 0.0, down=0.03), own)
    assert still.shape == pytest.approx(own.shape, abs=2e-3)
    lowered = own.shape.copy()
    lowered[[159, 160, 158, 386, 385, 387], 1] += 0.04
    drawn = with_drawn_irises(replace(own, shape=lowered), own)
    moved = drawn.shape[IRISES, 1] - own.shape[IRISES, 1]
    assert moved.min() > 0.005
    assert moved.max() < 0.03


@pytest.mark.parametrize(("look", "sign"), [("eyeLookDown", 1), ("eyeLookUp", -1)])
def test_the_edit_sends_a_look_down_or_up_to_the_warp(look: str, sign: int) -> None:
    driver = motion(**{f"{look}Left": 0.8, f"{look}Right": 0.8})
    eyes = TrackerEdit(motion(), map_px=32)(driver, None, EditSettings(mode=Mode.EXP)).eyes
    assert min(sign * eye.drop for eye in eyes) > 0.05


def test_the_edit_sends_a_drivers_look_to_the_warp() -> None:
    edit = TrackerEdit(motion(), map_px=32)
    still = edit(motion(), None, EditSettings(mode=Mode.EXP))
    driver = motion(eyeLookOutLeft=0.9, eyeLookInRight=0.9)
    aside = edit(driver, None, EditSettings(mode=Mode.EXP))
    assert max(abs(eye.shift) for eye in still.eyes) < 0.02
    assert min(eye.shift for eye in aside.eyes) > 0.1, "out for the left eye is the picture's right"
    assert aside.target_points == pytest.approx(still.target_points, abs=0.02), "the generator is not asked"
    half = still.towards(aside, 0.5)
    assert half.eyes[0].shift == pytest.approx((still.eyes[0].shift + aside.eyes[0].shift) / 2)


def test_at_rest_and_in_pose_mode_the_portraits_own_gaze_stays() -> None:
    edit = TrackerEdit(looking(motion(), 0.03), map_px=32)
    driver = looking(motion(), -0.05)
    assert [eye.shift for eye in edit.rest(EditSettings()).eyes] == pytest.approx([0, 0], abs=1e-6)
    posed = edit(driver, None, EditSettings(mode=Mode.POSE))
    assert [eye.shift for eye in posed.eyes] == pytest.approx([0, 0], abs=1e-5)
    assert [eye.drop for eye in posed.eyes] == pytest.approx([0, 0], abs=1e-5)
