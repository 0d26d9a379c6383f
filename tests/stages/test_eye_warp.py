"""The eye warp: an iris arrives where it was sent, and nothing outside of the eye moves."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimicam.engine.stages.eye_warp import EyeWarp, between
from mimicam.engine.types import EyeShift, Image

SIDE = 256
EYE = EyeShift(
    x=-0.25, y=-0.1, axis_x=0.24, axis_y=0.02, iris=0.1, shift=0.0, radius=0.38,
    upper=-0.5, upper_skew=0.1, lower=0.45, lower_skew=0.0,
)  # fmt: skip


def picture(eye: EyeShift, *, left: int = 0, top: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Image:
    """Red skin, a white eye and a dark iris with a bright catchlight, as ``eye`` describes it."""
    out = np.full((*size, 3), (160, 90, 80), np.uint8)
    u, v = _coordinates(eye, left, top, size)
    upper, lower = eye.lids(u)
    opening = (np.abs(u) < 1) & (v > upper) & (v < lower)
    out[opening] = 235
    out[opening & (np.hypot(u - eye.iris, v) < eye.radius)] = (30, 40, 60)
    return cv2.GaussianBlur(out, (0, 0), 0.7)


def _coordinates(eye: EyeShift, left: int, top: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(size[1])[None] - left + 0.5) / (SIDE / 2) - 1 - eye.x
    y = (np.arange(size[0])[:, None] - top + 0.5) / (SIDE / 2) - 1 - eye.y
    scale = eye.axis_x**2 + eye.axis_y**2
    return (x * eye.axis_x + y * eye.axis_y) / scale, (y * eye.axis_x - x * eye.axis_y) / scale


def iris_u(image: Image, eye: EyeShift, *, left: int = 0, top: int = 0) -> float:
    """Centre of the dark pixels between the lids, u."""
    u, v = _coordinates(eye, left, top, image.shape[:2])
    upper, lower = eye.lids(u)
    inside = (np.abs(u) < 1) & (v > upper + 0.08) & (v < lower - 0.08)
    dark = np.where(inside, np.clip(130 - image[..., 0].astype(float), 0, None), 0)
    return float((dark * u).sum() / dark.sum())


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.15, 0.4])
def test_an_iris_arrives_where_it_is_sent(shift: float) -> None:
    eye = replace(EYE, shift=shift)
    image = picture(EYE)
    before = iris_u(image, EYE)
    EyeWarp(left=0, top=0, side=SIDE)(image, (eye,))
    assert iris_u(image, EYE) - before == pytest.approx(shift, abs=0.06)


def iris_v(image: Image, eye: EyeShift) -> float:
    """Centre of the dark pixels around the iris, v."""
    u, v = _coordinates(eye, 0, 0, image.shape[:2])
    near = np.hypot(u - eye.iris, v) < 1.6 * eye.radius
    dark = np.where(near, np.clip(130 - image[..., 0].astype(float), 0, None), 0)
    return float((dark * v).sum() / dark.sum())


@pytest.mark.parametrize("rise", [-0.15, -0.08, 0.1])
def test_an_iris_rises_with_its_upper_lid(rise: float) -> None:
    image = picture(EYE)
    before, skin = iris_v(image, EYE), image.copy()
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, rise=rise),))
    assert iris_v(image, EYE) - before == pytest.approx(rise, abs=0.05)
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    lid = (np.abs(u - EYE.iris) < 0.1) & (v < -0.3)
    white, was = ((each[..., 2] > 150) | (each[..., 2] < 70) for each in (image, skin))
    assert (white & lid).sum() != (was & lid).sum(), "the edge of the upper lid moves too"


@pytest.mark.parametrize("drop", [-0.12, 0.08, 0.12])
def test_an_iris_drops_within_lids_that_stay(drop: float) -> None:
    image = picture(EYE)
    before, still = iris_v(image, EYE), image.copy()
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, drop=drop),))
    assert iris_v(image, EYE) - before == pytest.approx(drop, abs=0.04)
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    upper, lower = EYE.lids(u)
    outside = (v < upper - 0.12) | (v > lower + 0.12)
    assert np.array_equal(image[outside], still[outside])


def test_white_ahead_of_an_iris_moves_with_it_instead_of_being_squeezed() -> None:
    image = picture(EYE)
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    vein = (np.abs(u - 0.6) < 0.04) & (np.abs(v) < 0.15)
    image[vein] = (200, 60, 60)
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, shift=0.2),))
    ahead = (np.abs(v) < 0.1) & (u > 0.55) & (u < 0.92)
    red = np.where(ahead, image[..., 0].astype(float) - image[..., 2] - 40, 0).clip(min=0)
    assert float((red * u).sum() / red.sum()) == pytest.approx(0.8, abs=0.04)


def test_a_rise_ends_inside_its_rectangle_without_a_seam() -> None:
    image = picture(EYE)
    before = image.copy()
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, rise=-0.2),))
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    outside = (np.abs(u) > 1.0) | (v < -0.76) | (v > 0.75)
    np.testing.assert_array_equal(image[outside], before[outside])


def test_the_moved_iris_keeps_its_size() -> None:
    image = picture(EYE)
    dark = (image[..., 0] < 100).sum()
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, shift=-0.2),))
    assert (image[..., 0] < 100).sum() == pytest.approx(dark, rel=0.12)


def test_nothing_outside_of_the_lids_changes() -> None:
    image = picture(EYE)
    before = image.copy()
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, shift=0.4),))
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    upper, lower = EYE.lids(u)
    outside = (np.abs(u) > 1.1) | (v < upper - 0.12) | (v > lower + 0.12)
    assert np.array_equal(image[outside], before[outside])
    assert not np.array_equal(image, before)


def test_white_stays_white_and_skin_is_not_pulled_in() -> None:
    image = picture(EYE)
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, shift=-0.5),))
    u, v = _coordinates(EYE, 0, 0, image.shape[:2])
    upper, lower = EYE.lids(u)
    well_inside = (np.abs(u) < 0.75) & (v > upper + 0.12) & (v < lower - 0.12)
    redness = image[..., 0].astype(int) - image[..., 2]
    assert redness[well_inside].max() < 35, "skin has 80"


def test_the_crop_may_lie_anywhere_on_the_canvas() -> None:
    image = picture(EYE, left=40, top=10, size=(280, 360))
    before = iris_u(image, EYE, left=40, top=10)
    EyeWarp(left=40, top=10, side=SIDE)(image, (replace(EYE, shift=0.3),))
    assert iris_u(image, EYE, left=40, top=10) - before == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("x", [-1.2, -0.98, 0.99, 3.0])
def test_an_eye_at_or_beyond_the_edge_does_no_harm(x: float) -> None:
    image = picture(EYE)
    EyeWarp(left=0, top=0, side=SIDE)(image, (replace(EYE, x=x, shift=0.4),))
    assert image.shape == (SIDE, SIDE, 3)


def test_an_iris_that_rests_changes_no_pixel() -> None:
    image = picture(EYE)
    before = image.copy()
    EyeWarp(left=0, top=0, side=SIDE)(image, (EYE, replace(EYE, shift=0.004)))
    assert np.array_equal(image, before)


def test_eyes_are_interpolated_with_their_targets() -> None:
    half = between((EYE,), (replace(EYE, shift=0.4, x=0.0),), 0.5)
    assert (half[0].shift, half[0].x) == pytest.approx((0.2, -0.125))
    assert between((), (EYE,), 0.5) == (EYE,)
