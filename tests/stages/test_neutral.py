"""The driver's neutral: found calmly, eased, and separated from identity."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.motion import between
from mimicam.engine.stages.neutral import (
    DriverNeutral,
    IdentityFilter,
    NeutralFinder,
    calmness_cost,
    read_expression,
    rest_mapped,
    resting_face,
)
from mimicam.engine.types import MotionCode
from tests.stages.material import NAMES, SECOND_NS, motion, pose

JAW, BLINK = NAMES.index("jawOpen"), NAMES.index("eyeBlinkLeft")


def _found(finder: NeutralFinder, face: MotionCode, captured_ns: int) -> MotionCode | None:
    """The neutral after this frame, and a check of what the finder returned."""
    before = finder.face
    assert finder(face, captured_ns) is (finder.face is face and before is not face)
    return finder.face


def test_the_calmest_face_of_the_first_two_seconds_is_neutral() -> None:
    neutral = NeutralFinder()
    restless, calm, calmer = motion(jawOpen=0.8), motion(jawOpen=0.2), motion(jawOpen=0.01)
    assert _found(neutral, restless, 0) is restless
    assert _found(neutral, calm, SECOND_NS) is calm
    assert _found(neutral, restless, SECOND_NS + 1) is calm
    assert _found(neutral, calmer, 2 * SECOND_NS) is calm, "settled: a later calm face changes nothing"


def test_calibrate_takes_the_next_face_and_keeps_it() -> None:
    neutral = NeutralFinder()
    calm, restless, calmer = motion(jawOpen=0.2), motion(jawOpen=0.6), motion()
    neutral(calm, 0)
    neutral.calibrate()
    assert _found(neutral, restless, 1) is restless
    assert _found(neutral, calmer, 2) is restless, "asked for: not replaced by a calmer one"
    assert _found(neutral, calmer, 9 * SECOND_NS) is restless


def _yaw(found: MotionCode) -> float:
    return float(np.rad2deg(found.pose.angles_rad()[0]))


def _eased(driver: DriverNeutral, face: MotionCode, seconds: Iterable[float]) -> np.ndarray:
    """The neutral's yaw while this face is seen, degrees."""
    return np.array([_yaw(driver(face, round(s * SECOND_NS)).face) for s in seconds])


def test_a_calmer_face_becomes_neutral_within_a_third_of_a_second_and_without_a_jump() -> None:
    neutral = DriverNeutral()
    first, calm = motion(pose(yaw=10), jawOpen=0.5), motion(jawOpen=0.02)
    assert neutral(first, 0).face is first
    yaws = _eased(neutral, calm, np.arange(0.033, 0.35, 0.033))
    steps = -np.diff(yaws, prepend=10.0)
    assert (steps > 0).all(), "straight there"
    assert steps.max() < 3.0
    assert steps[0] < steps[1], "starts softly"
    assert abs(yaws[-1]) < 0.5
    jaw = neutral(calm, round(0.4 * SECOND_NS)).face.expression[NAMES.index("jawOpen")]
    assert jaw == pytest.approx(0.02, abs=0.01)
    assert neutral(calm, 2 * SECOND_NS).face is calm, "in the end exactly"


def test_calibrate_eases_too_and_ends_at_the_face_that_was_taken() -> None:
    neutral = DriverNeutral()
    _eased(neutral, motion(), np.arange(0, 3, 0.04))
    neutral.calibrate()
    turned = motion(pose(yaw=15), mouthSmileLeft=0.6)
    yaws = _eased(neutral, turned, np.arange(3, 3.4, 0.04))
    assert 0 < yaws[0] < 4.5
    assert np.diff(yaws).max() < 4.5
    assert yaws[-1] > 14
    assert neutral(turned, 5 * SECOND_NS).face is turned


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_a_neutral_eases_by_the_frames_times_and_not_their_number(fps: int) -> None:
    neutral = DriverNeutral()
    neutral(motion(pose(yaw=10), jawOpen=0.5), 0)
    yaws = _eased(neutral, motion(), np.arange(1, round(0.3 * fps) + 1) / fps)
    assert yaws[-1] == pytest.approx(0.35, abs=0.25)


def test_while_a_driver_comes_to_rest_the_neutral_stays_near_them() -> None:
    neutral = DriverNeutral()
    times = np.arange(0, 1.5, 0.033)
    turns = 10 - 10 * times / 1.5
    apart = [
        _yaw(neutral(motion(pose(yaw=yaw)), round(s * SECOND_NS)).face) - yaw
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
    neutral = NeutralFinder()
    first, second = motion(), motion(jawOpen=0.5)
    neutral(first, 0)
    neutral.reset()
    assert _found(neutral, second, 60 * SECOND_NS) is second


def test_calmness_cost_counts_expression_and_turn() -> None:
    assert calmness_cost(motion()) == pytest.approx(0.0, abs=1e-4)
    assert calmness_cost(motion(jawOpen=0.5)) > calmness_cost(motion(jawOpen=0.1)) > 0
    assert calmness_cost(motion(pose(yaw=20))) > calmness_cost(motion(pose(yaw=5))) > 0
    assert calmness_cost(replace(motion(), pose=pose(yaw=-20))) == pytest.approx(
        calmness_cost(motion(pose(yaw=20))), abs=1e-4
    )


def _watch(identity: IdentityFilter, faces: Iterable[MotionCode], fps: float = 25.0) -> None:
    for number, face in enumerate(faces):
        identity(face, round(number / fps * SECOND_NS))


@pytest.mark.parametrize("values", [{"jawOpen": 0.8}, {"eyeBlinkLeft": 1.0}, {"mouthSmileLeft": 0.9}])
def test_the_first_frame_is_taken_for_what_it_is(values: dict[str, float]) -> None:
    """A driver who starts in mid-laugh, with closed eyes or talking."""
    face = motion(**values)
    read, first = read_expression(face), IdentityFilter()(face, 0)
    for name, value in values.items():
        assert first.blendshapes[NAMES.index(name)] == pytest.approx(value, abs=0.02)
    assert first.displacement == pytest.approx(read.displacement, abs=1e-6)


def test_a_driver_who_laughs_all_the_time_still_laughs() -> None:
    identity, laughing = IdentityFilter(), motion(mouthSmileLeft=0.8, jawOpen=0.6)
    _watch(identity, [laughing] * 500)
    found = identity(laughing, 20 * SECOND_NS).blendshapes
    assert found[NAMES.index("mouthSmileLeft")] > 0.75
    assert found[JAW] > 0.5


def test_resting_lids_of_a_driver_become_average_ones_while_closed_stays_closed() -> None:
    narrow = float(resting_face().expression[BLINK] + resting_face().spread[BLINK])
    identity = IdentityFilter()
    first = identity(motion(eyeBlinkLeft=narrow), 0).blendshapes[BLINK]
    _watch(identity, [motion(eyeBlinkLeft=narrow if i % 25 else 1.0) for i in range(1000)])
    rested = identity(motion(eyeBlinkLeft=narrow), 40 * SECOND_NS).blendshapes[BLINK]
    assert first == pytest.approx(narrow, abs=0.01), "nothing is known yet"
    average = float(resting_face().expression[BLINK])
    assert rested == pytest.approx(average + 0.17 * (narrow - average), abs=0.015)
    assert identity(motion(eyeBlinkLeft=1.0), 40 * SECOND_NS).blendshapes[BLINK] == pytest.approx(
        1.0, abs=1e-5
    )


def test_a_drivers_own_face_is_no_expression() -> None:
    """Landmarks of a long face: all of it is identity, whatever the first frames made of it."""
    long = motion().shape * np.array([1.0, 1.15, 1.0], np.float32)
    face, identity = replace(motion(), shape=long), IdentityFilter()
    jaw = np.zeros_like(long)
    jaw[[14, 17, 87, 317], 1] = 0.1
    _watch(identity, [face] * 50)
    still, opened = (
        identity(replace(face, shape=long + part), 3 * SECOND_NS).displacement for part in (0 * jaw, jaw)
    )
    assert (opened - still)[14, 1] == pytest.approx(0.09, abs=0.02)
    alone = read_expression(replace(face, shape=long + jaw)).displacement - read_expression(face).displacement
    assert abs((opened - still)[14, 1] - 0.1) < abs(alone[14, 1] - 0.1), "better than one frame tells"


def test_frames_count_by_their_time_and_not_their_number() -> None:
    slow, fast = IdentityFilter(), IdentityFilter()
    wide = motion(browInnerUp=0.2)
    _watch(slow, [wide] * 60, fps=10)
    _watch(fast, [wide] * 360, fps=60)
    a, b = (each(wide, 6 * SECOND_NS).blendshapes for each in (slow, fast))
    assert a == pytest.approx(b, abs=0.01)


def test_after_calibrate_the_face_that_was_taken_is_at_rest() -> None:
    driver, rest = DriverNeutral(), resting_face()
    narrow = motion(eyeBlinkLeft=0.2, browInnerUp=0.1)
    driver(motion(jawOpen=0.5), 0)
    driver.calibrate()
    taken = driver(narrow, SECOND_NS)
    assert taken.jumped
    for name in ("eyeBlinkLeft", "browInnerUp"):
        index = NAMES.index(name)
        assert taken.expression.blendshapes[index] == pytest.approx(rest.expression[index], abs=1e-5)
    wanted = rest.displacement
    assert taken.expression.displacement[:, :2] == pytest.approx(wanted[:, :2], abs=0.03)
    assert not driver(narrow, SECOND_NS + 1).jumped


def test_what_was_studied_stays_while_a_recording_is_drawn() -> None:
    driver = DriverNeutral()
    calm, laughing = motion(pose(yaw=2), jawOpen=0.01), motion(pose(yaw=20), jawOpen=0.7)
    for number, face in enumerate([laughing] * 30 + [calm] * 5):
        driver.study(face, number * SECOND_NS // 5)
    driver.end_study()
    first = driver(laughing, 0)
    assert first.face is calm, "found beyond the first two seconds"
    for number in range(1, 200):
        last = driver(laughing, number * SECOND_NS // 25)
    assert last.expression.blendshapes == pytest.approx(first.expression.blendshapes, abs=1e-6)


def test_resting_values_map_onto_the_average_and_keep_the_ends() -> None:
    resting = np.full(len(NAMES), 0.3, np.float32)
    average = resting_face().expression
    assert rest_mapped(resting, resting) == pytest.approx(average, abs=1e-6)
    assert rest_mapped(np.ones_like(resting), resting) == pytest.approx(1.0, abs=1e-6)
    assert rest_mapped(np.zeros_like(resting), resting) == pytest.approx(0.0, abs=1e-6)
    steps = np.stack([rest_mapped(np.full_like(resting, v), resting) for v in np.linspace(0, 1, 11)])
    assert (np.diff(steps, axis=0) >= 0).all()
