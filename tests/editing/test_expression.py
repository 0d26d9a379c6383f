"""The edited expression of one frame: what is kept, what comes from the driver, presets, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mimicam.engine.controls import VIDEO_EDIT, EditSettings, Mode, MotionReference
from mimicam.engine.editing.channels import NO_CHANGES, Changes, parse_changes
from mimicam.engine.editing.expression import edit_expression
from mimicam.engine.editing.studied import StudiedFace
from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.regions import REGIONS, landmark_weights
from mimicam.engine.stages.neutral import rest_mapped, rest_unmapped, resting_face
from mimicam.engine.types import Float, MotionCode
from tests.editing.material import face, shapes, track

RELATIVE = EditSettings(mode=Mode.EXP, expression_motion=MotionReference.RELATIVE)
LIPS = (13, 14)


def edited(
    own: dict[str, float],
    driver: dict[str, float] | None = None,
    *,
    settings: EditSettings = VIDEO_EDIT,
    changes: Changes = NO_CHANGES,
) -> tuple[MotionCode, MotionCode]:
    """Return source and target motion; both people rest in half of their frames."""
    faces = [face(200, 150), face(200, 150, **own)] * 8
    person = StudiedFace(track(faces, fps=1.0))
    moment: Any = None
    if driver is not None:
        moment = StudiedFace(track([face(90, 80, **driver), face(90, 80)] * 8, fps=1.0)).expression(0)
    source = read_motion(faces[1].landmarks, faces[1].blendshapes)
    own_expression = person.expression(1)
    assert own_expression is not None
    target = edit_expression(
        source, own_expression, moment, resting=person.resting, settings=settings, changes=changes
    )
    return source, target


def amount(motion: MotionCode, name: str) -> float:
    return float(motion.expression[BLENDSHAPE_NAMES.index(name)])


def gap(motion: MotionCode) -> float:
    """Return the opening of the lips, head units."""
    return float(motion.shape[LIPS[1], 1] - motion.shape[LIPS[0], 1])


def test_without_driver_and_changes_the_motion_is_the_source_s_exactly() -> None:
    source, target = edited({"jawOpen": 0.4, "eyeBlinkLeft": 0.7})
    np.testing.assert_array_equal(target.shape, source.shape)
    np.testing.assert_array_equal(target.expression, source.expression)
    assert target.pose is source.pose


def test_a_driver_s_closed_mouth_closes_an_open_one() -> None:
    source, target = edited({"jawOpen": 0.6}, {"mouthSmileLeft": 0.0})
    resting = gap(read_motion(face(200, 150).landmarks, shapes()))
    assert gap(source) > 3 * resting
    assert gap(target) == pytest.approx(resting, abs=0.25 * gap(source))


def test_a_driver_s_open_mouth_opens_a_closed_one_and_the_pose_stays() -> None:
    source, target = edited({}, {"jawOpen": 0.6})
    assert amount(target, "jawOpen") == pytest.approx(0.6, abs=0.1)
    assert gap(target) > gap(source) + 0.1
    assert target.pose is source.pose


def test_relative_motion_is_added() -> None:
    _, target = edited({"jawOpen": 0.3}, {"mouthPucker": 0.7}, settings=RELATIVE)
    assert amount(target, "jawOpen") == pytest.approx(0.3, abs=0.05)
    assert amount(target, "mouthPucker") > 0.4


def test_a_gain_of_zero_puts_the_face_at_rest() -> None:
    still = EditSettings(mode=Mode.EXP, expression_gain=0.0)
    _, target = edited({"jawOpen": 0.6}, settings=still)
    assert amount(target, "jawOpen") == pytest.approx(0.0, abs=0.05)


def test_a_region_of_strength_zero_keeps_the_source_s_expression() -> None:
    own, driver = {"eyeBlinkLeft": 0.8}, {"jawOpen": 0.6, "eyeBlinkLeft": 0.0}
    source, target = edited(own, driver, changes=parse_changes([], ["eyes=0"]))
    assert amount(target, "eyeBlinkLeft") == pytest.approx(amount(source, "eyeBlinkLeft"), abs=1e-3)
    assert amount(target, "jawOpen") > 0.4
    upper_lid = 386
    moved = np.abs(target.shape - source.shape).max(axis=1)
    assert moved[upper_lid] < 0.2 * moved[LIPS[1]]


def test_a_jaw_of_strength_zero_keeps_the_chin() -> None:
    source, target = edited({}, {"jawOpen": 0.6}, changes=parse_changes([], ["jaw=0"]))
    _, opened = edited({}, {"jawOpen": 0.6})
    chin = 152
    kept, moved = (abs(float(motion.shape[chin, 1] - source.shape[chin, 1])) for motion in (target, opened))
    assert kept < 0.25 * moved


def test_landmarks_are_shared_among_the_regions() -> None:
    total: Float = sum((landmark_weights(name) for name in REGIONS), np.zeros((478, 1), np.float32))
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert landmark_weights("jaw")[152] > 0.4, "the chin belongs to the jaw"
    assert landmark_weights("eyes")[159] > 0.5, "the upper lid belongs to the eyes"
    assert landmark_weights("brows")[105] > 0.4, "the brow belongs to the brows"


def test_a_preset_is_added_to_the_source_s_expression() -> None:
    source, target = edited({"jawOpen": 0.3}, changes=parse_changes(["smile=0.5"], []))
    assert amount(target, "mouthSmileLeft") == pytest.approx(amount(source, "mouthSmileLeft") + 0.4, abs=1e-3)
    assert amount(target, "jawOpen") == amount(source, "jawOpen")
    corner = 291
    assert target.shape[corner, 1] < source.shape[corner, 1] - 0.01, "the corner of the mouth rises"


def test_a_named_blendshape_is_a_preset_of_its_own() -> None:
    _, target = edited({}, changes=parse_changes(["jawOpen=0.4"], []))
    assert amount(target, "jawOpen") == pytest.approx(0.4, abs=0.05)


def test_neutral_puts_the_person_at_rest_with_and_without_a_driver() -> None:
    for driver in (None, {"mouthPucker": 0.8}):
        _, target = edited({"jawOpen": 0.6}, driver, changes=parse_changes(["neutral=1"], []))
        resting = read_motion(face(200, 150).landmarks, shapes())
        assert amount(target, "jawOpen") == pytest.approx(0.0, abs=0.05)
        assert amount(target, "mouthPucker") == pytest.approx(amount(resting, "mouthPucker"), abs=0.05)
        assert gap(target) == pytest.approx(gap(resting), abs=0.05)


def test_blinks_can_be_switched_off() -> None:
    source, target = edited(
        {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9}, changes=parse_changes(["blink=off"], [])
    )
    assert amount(source, "eyeBlinkLeft") == pytest.approx(0.9, abs=0.01)
    assert amount(target, "eyeBlinkLeft") < 0.3


def test_a_replaced_channel_takes_the_place_of_what_is_there() -> None:
    changes = Changes(presets={"jawOpen": 0.2}, replaced=frozenset({"jawOpen"}))
    _, target = edited({"jawOpen": 0.7}, changes=changes)
    assert amount(target, "jawOpen") == pytest.approx(0.2, abs=1e-3)


def test_resting_values_survive_the_way_there_and_back() -> None:
    rng = np.random.default_rng(3)
    resting, values = rng.uniform(0.05, 0.4, 52).astype(np.float32), rng.uniform(0, 1, 52).astype(np.float32)
    known = resting_face().expression > 0.01  # below a rest of 0 there is nothing to map to
    found = rest_unmapped(rest_mapped(values, resting), resting)
    np.testing.assert_allclose(found[known], values[known], atol=1e-5)


@pytest.mark.parametrize(
    ("presets", "strengths", "message"),
    [
        (["simle=1"], [], "no channel 'simle': choose one of neutral, smile, .*, or a blendshape such as jawOpen"),
        (["smile"], [], "'smile' must have the form NAME=VALUE, for example smile=0.6"),
        (["smile=nan"], [], "must have the form"),
        (["smile=9"], [], "smile must lie between -2 and 2, not 9"),
        (["blink=2"], [], "blink must lie between 0 and 1, not 2"),
        ([], ["ears=1"], "no channel 'ears': choose one of eyes, brows, mouth, jaw"),
        ([], ["eyes=-1"], "eyes must lie between 0 and 2, not -1"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused_with_what_is_possible(
    presets: list[str], strengths: list[str], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        parse_changes(presets, strengths)
