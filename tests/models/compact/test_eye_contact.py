"""Eye contact: which gazes are turned to the camera, how far, and which are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.models.compact.eye_contact import EyeContact, eyes_rad, gaze_rad
from mimicam.engine.types import EyeShift, MotionCode
from tests.stages.material import SECOND_NS, motion, pose

IRISES = [*range(468, 473), *range(473, 478)]
FAR, CENTRE = (0.12, 0.0), (0.0, 0.0)


def looking(right: float, down: float, *, yaw: float = 0.0) -> MotionCode:
    """Return a face whose irises are moved, canonical units."""
    face = motion(pose(yaw=yaw))
    shape = face.shape.copy()
    shape[IRISES, 0] += right
    shape[IRISES, 1] += down
    return replace(face, shape=shape)


def settled(face: MotionCode, amount: float = 1.0, contact: EyeContact | None = None) -> tuple[EyeShift, ...]:
    """Return the shifts after a second of the same face."""
    contact = contact or calibrated()
    eyes: tuple[EyeShift, ...] = ()
    for frame in range(31):
        eyes = contact(face, frame * 33_000_000, amount)
    return eyes


def calibrated() -> EyeContact:
    """Return a contact whose zero is a face that looks straight ahead."""
    contact = EyeContact()
    contact.calibrate()
    contact(looking(*CENTRE), 0, 0.0)
    contact.reset()
    return contact


def test_a_gaze_is_the_head_s_turn_and_that_of_the_eyes() -> None:
    straight, turned, back = looking(0, 0), looking(0, 0, yaw=10), looking(-0.05, 0, yaw=10)
    assert eyes_rad(turned) == pytest.approx(eyes_rad(straight), abs=1e-4)
    assert gaze_rad(turned)[0] - gaze_rad(straight)[0] == pytest.approx(np.deg2rad(10), abs=0.01)
    assert abs(gaze_rad(back)[0]) < abs(gaze_rad(turned)[0]), "eyes that turn back look nearer to the camera"


def test_a_covered_eye_stays_and_does_not_count() -> None:
    contact, face = calibrated(), looking(0.03, 0.0)
    invented = face.shape.copy()
    invented[range(468, 473), 0] -= 0.2
    both = settled(face)
    for frame in range(31):
        eyes = contact(replace(face, shape=invented), frame * 33_000_000, 1.0, (0.0, 1.0))
    right, left = eyes
    assert (right.shift, right.rise) == (0.0, 0.0)
    assert left.shift == pytest.approx(both[1].shift, abs=0.02), "what lies behind a hand is not read"
    assert contact(face, SECOND_NS * 2, 1.0, (0.0, 0.0)) == ()


def test_eyes_beside_the_camera_are_turned_to_it() -> None:
    for eye in settled(looking(0.03, 0.0)):
        assert eye.shift < -0.05, "irises to the right move to the left"
        assert eye.rise == pytest.approx(0.0, abs=0.01)
    for eye in settled(looking(0.0, 0.03)):
        assert eye.rise < -0.05, "irises below rise"
        assert eye.shift == pytest.approx(0.0, abs=0.01)


def test_a_turned_head_whose_eyes_look_into_the_camera_is_left_alone() -> None:
    face = looking(0, 0, yaw=10)
    lever = 0.0
    for step in np.linspace(0.0, 0.1, 41):  # find the irises that look into the camera
        lever = float(-step)
        if gaze_rad(looking(lever, 0, yaw=10))[0] <= gaze_rad(looking(*CENTRE))[0]:
            break
    assert lever < 0
    (first, _), (second, _) = settled(looking(lever, 0, yaw=10)), settled(face)
    assert abs(first.shift) < 0.2 * abs(second.shift)


def test_a_look_aside_on_purpose_is_left_alone() -> None:
    assert settled(looking(*FAR)) == (), "24 degrees and more"
    assert gaze_rad(looking(*FAR))[0] - gaze_rad(looking(*CENTRE))[0] > np.deg2rad(24)


def test_the_correction_lets_go_softly() -> None:
    contact, face = calibrated(), looking(0.03, 0.0)
    settled(face, contact=contact)
    shifts = []
    for frame in range(31, 61):
        away = 0.03 + 0.003 * (frame - 31)
        eyes = contact(looking(away, 0.0), frame * 33_000_000, 1.0)
        shifts.append(eyes[0].shift if eyes else 0.0)
    assert shifts[-1] == pytest.approx(0.0, abs=0.02)
    assert np.abs(np.diff(shifts)).max() < 0.08, "it never jumps"


def test_it_takes_hold_by_the_frames_times() -> None:
    contact, face = calibrated(), looking(0.03, 0.0)
    contact(face, 0, 1.0)
    early = contact(face, 33_000_000, 1.0)[0].shift
    late = settled(face)[0].shift
    assert 0 < early / late < 0.5


def test_an_amount_of_zero_moves_nothing_and_half_moves_half() -> None:
    face = looking(0.03, 0.02)
    assert settled(face, 0.0) == ()
    half, full = settled(face, 0.5)[0], settled(face, 1.0)[0]
    assert half.shift / full.shift == pytest.approx(0.5, abs=0.05)
    assert half.rise / full.rise == pytest.approx(0.5, abs=0.05)


def test_a_blink_stays() -> None:
    shut = motion(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    shape = shut.shape.copy()
    for upper, lower in ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373)):
        shape[upper] = shape[lower]
    shape[IRISES, 0] += 0.03
    shape[IRISES, 1] += 0.03
    assert BLENDSHAPE_NAMES[9] == "eyeBlinkLeft"
    for eye in settled(replace(shut, shape=shape)):
        assert (eye.shift, eye.rise) == pytest.approx((0.0, 0.0))


def test_calibrating_takes_the_next_gaze_as_the_camera() -> None:
    contact, face = EyeContact(), looking(0.02, 0.03)
    assert max(abs(eye.rise) for eye in settled(face, contact=contact)) > 0.03
    contact.calibrate()
    contact(face, 2_000_000_000, 1.0)
    for eye in contact(face, 2_033_000_000, 1.0):
        assert (eye.shift, eye.rise) == pytest.approx((0.0, 0.0), abs=0.02)
