"""The driver's head by time, for crops in which the head moves."""

from __future__ import annotations

import pytest

from mimicam.engine.editing.driver import Driver, DriverLength
from mimicam.engine.types import Face
from tests.editing.material import face, track


def turning(length: DriverLength, *, mirror: bool = False) -> Driver:
    """Return a driver who turns the head evenly, by 0.2 rad a second, for two seconds."""
    faces: list[Face | None] = [face(90, 80, yaw_rad=-0.2 * index / 25) for index in range(50)]
    faces[20:25] = [None] * 5
    return Driver(track(faces), length=length, duration_s=2.0, mirror=mirror)


def yaw(driver: Driver, time_s: float) -> float:
    return driver.pose(time_s).angles_rad()[0]


def test_the_pose_is_the_one_of_that_time() -> None:
    driver = turning(DriverLength.HOLD)
    assert yaw(driver, 0.5) == pytest.approx(0.1, abs=0.01)
    assert yaw(driver, 0.51) == pytest.approx(0.102, abs=0.01)
    assert yaw(driver, 30.0) == pytest.approx(yaw(driver, 1.96), abs=1e-4)


def test_a_lost_head_moves_on_between_its_neighbours() -> None:
    assert yaw(turning(DriverLength.HOLD), 0.9) == pytest.approx(0.18, abs=0.01)


def test_a_loop_turns_back_without_a_jump() -> None:
    driver = turning(DriverLength.LOOP)
    assert yaw(driver, 2.5) == pytest.approx(yaw(driver, 0.5), abs=1e-4)
    assert yaw(driver, 1.999) == pytest.approx(yaw(driver, 2.001), abs=0.02)


def test_a_mirrored_head_turns_the_other_way() -> None:
    assert yaw(turning(DriverLength.HOLD, mirror=True), 1.5) == pytest.approx(-0.3, abs=0.02)


def test_the_neutral_pose_is_the_calmest_one() -> None:
    assert turning(DriverLength.HOLD).neutral_pose.angles_rad()[0] == pytest.approx(0.0, abs=0.02)
