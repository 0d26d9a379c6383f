"""The driver by time: other rates and lengths, losses of the face."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mimicam.engine.editing.driver import Driver, DriverLength
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import Face
from tests.editing.material import face, track

JAW = BLENDSHAPE_NAMES.index("jawOpen")


def jaws(length: DriverLength, *, fps: float = 25.0, seconds: float = 2.0) -> Driver:
    """Return a driver whose jaw opens evenly, by 0.4 a second."""
    count = round(seconds * fps)
    faces: list[Face | None] = [face(90, 80, jawOpen=0.4 * index / fps) for index in range(count)]
    return Driver(track(faces, fps=fps), length=length, duration_s=seconds)


def jaw(driver: Driver, time_s: float) -> float:
    moment = driver(time_s)
    assert moment is not None
    return float(moment.expression.blendshapes[JAW])


@pytest.mark.parametrize("fps", [12.0, 24.0, 60.0])
def test_the_expression_is_the_one_of_that_time_at_any_rate(fps: float) -> None:
    slow, usual = jaws(DriverLength.HOLD, fps=fps), jaws(DriverLength.HOLD)
    for time_s in (0.33, 0.7, 1.21):
        assert jaw(slow, time_s) == pytest.approx(jaw(usual, time_s), abs=0.02)


def test_hold_keeps_the_last_expression() -> None:
    driver = jaws(DriverLength.HOLD)
    assert jaw(driver, 60.0) == pytest.approx(jaw(driver, 1.96), abs=1e-3)
    assert driver.end_s == float("inf")


def test_loop_starts_again_and_blends_into_the_start() -> None:
    driver = jaws(DriverLength.LOOP)
    assert jaw(driver, 4.5) == pytest.approx(jaw(driver, 0.5), abs=1e-3)
    assert jaw(driver, 1.999) == pytest.approx(jaw(driver, 2.001), abs=0.02), "no jump at the seam"
    assert jaw(driver, 1.7) > 0.5, "the blend takes a quarter of a second only"


def test_ping_pong_runs_back() -> None:
    driver = jaws(DriverLength.PING_PONG)
    assert jaw(driver, 2.6) == pytest.approx(jaw(driver, 1.4), abs=1e-3)
    assert jaw(driver, 4.5) == pytest.approx(jaw(driver, 0.5), abs=1e-3)


def test_trim_ends_with_the_driver() -> None:
    assert jaws(DriverLength.TRIM).end_s == pytest.approx(2.0)


def test_a_picture_drives_for_ever() -> None:
    still = Driver(track([face(90, 80, jawOpen=0.5)]), length=DriverLength.TRIM, duration_s=0.0)
    assert still.end_s == float("inf")
    assert jaw(still, 100.0) == pytest.approx(jaw(still, 0.0))


def test_the_source_takes_over_before_the_driver_s_face_is_lost() -> None:
    faces: list[Face | None] = [face(90, 80, jawOpen=0.5)] * 50
    faces[25:35] = [None] * 10
    driver = Driver(track(faces), length=DriverLength.HOLD, duration_s=2.0)
    assert driver(1.2) is None
    shares = [moment.share if (moment := driver(time_s)) else 0.0 for time_s in (0.4, 0.8, 0.9, 0.96, 1.0)]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.0
    assert max(a - b for a, b in pairwise(shares)) < 0.6, "it fades"
