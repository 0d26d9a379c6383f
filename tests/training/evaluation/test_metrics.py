"""Each measure against a value known by hand."""

import numpy as np
import pytest

from tests.stages.material import bundled, first_face, shapes
from training.evaluation.metrics import (
    cosine,
    expression_groups,
    follow,
    frechet,
    landmark_error,
    psnr,
    sharpness,
    ssim,
)


def test_psnr_of_known_errors() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    assert psnr(image + np.uint8(1), image) == pytest.approx(20 * np.log10(255), abs=1e-4)
    assert psnr(image + np.uint8(10), image) == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    assert psnr(np.full_like(image, 255), np.zeros_like(image)) == pytest.approx(0.0, abs=1e-6)
    assert psnr(image, image) > 100


def test_psnr_does_not_wrap_around() -> None:
    assert psnr(np.full((4, 4, 3), 250, np.uint8), np.full((4, 4, 3), 5, np.uint8)) < 1


def test_ssim_of_flat_pictures_is_its_formulas_luminance_term() -> None:
    a, b = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1), abs=1e-3)


def test_ssim_is_one_for_itself_and_low_for_its_negative() -> None:
    image = bundled("linn.png")
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-6)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert ssim(noise, 255 - noise) < -0.9
    blurred = np.asarray(image[::4, ::4].repeat(4, 0).repeat(4, 1))
    assert 0.2 < ssim(image, blurred) < 0.99


def test_a_copy_follows_with_gain_one_and_a_half_with_gain_a_half() -> None:
    driver = np.sin(np.linspace(0, 9, 40)).astype(np.float32) * 0.3
    assert follow("jaw", driver, driver) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert follow("jaw", driver, 0.5 * driver + 0.2) == pytest.approx((1.0, 0.5), abs=1e-5)
    assert follow("yaw", driver, -driver) == pytest.approx((-1.0, -1.0), abs=1e-5)


def test_a_gain_is_a_slope_which_trembling_does_not_raise() -> None:
    driver = np.sin(np.linspace(0, 60, 400)).astype(np.float32) * 0.3
    noise = np.random.default_rng(0).normal(0, 0.3, 400).astype(np.float32)
    correlation, gain = follow("jaw", driver, 0.5 * driver + noise) or (0.0, 0.0)
    assert gain == pytest.approx(0.5, abs=0.1), "a ratio of spreads would say 1.5"
    assert correlation < 0.6


def test_cosine_is_of_directions() -> None:
    a, b = np.array([3.0, 4.0], np.float32), np.array([4.0, -3.0], np.float32)
    assert cosine(a, 7 * a) == pytest.approx(1.0)
    assert cosine(a, b) == pytest.approx(0.0, abs=1e-6)
    assert cosine(a, -a) == pytest.approx(-1.0)
    assert cosine(a, 0 * a) == 0


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4000, 3)).astype(np.float32)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-6)
    assert frechet(a, a + np.float32(2)) == pytest.approx(12.0, rel=1e-4), (
        "the means alone: 3 times 2 squared"
    )
    # Diagonal covariances: the sum of (sigma_a - sigma_b)^2.
    assert frechet(a, a * np.array([3, 1, 1], np.float32)) == pytest.approx(4.0, rel=0.1)


def test_a_still_result_has_no_gain_and_a_still_driver_says_nothing() -> None:
    driver = np.sin(np.linspace(0, 9, 40)).astype(np.float32) * 0.3
    assert follow("jaw", driver, np.full(40, 0.7, np.float32)) == pytest.approx((0.0, 0.0), abs=1e-3)
    assert follow("jaw", np.full(40, 0.7, np.float32), driver) is None
    assert follow("smile", driver * 0.1, driver) is None


def test_groups_are_means_of_their_blendshapes() -> None:
    curves = expression_groups(np.stack([shapes(), shapes(jawOpen=0.4, eyeBlinkLeft=1.0, browInnerUp=0.6)]))
    assert {name: curve.tolist() for name, curve in curves.items()} == {
        "jaw": [0.0, pytest.approx(0.4)], "smile": [0.0, 0.0],
        "blink": [0.0, pytest.approx(0.5)], "brow": [0.0, pytest.approx(0.2)],
    }  # fmt: skip


def test_landmark_error_is_counted_in_eye_distances() -> None:
    target = first_face().landmarks
    eyes = float(np.linalg.norm(target[33, :2] - target[263, :2]))
    assert landmark_error(target, target) == 0
    moved = target + np.array([0.3 * eyes, 0.4 * eyes, 99], np.float32)
    assert landmark_error(moved, target) == pytest.approx(0.5, abs=1e-5), "depth does not count"


def test_sharpness_falls_with_blur_and_sees_only_the_face() -> None:
    import cv2

    image = bundled("linn.png")
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[0, :2], landmarks[1:, :2] = (150, 150), (350, 350)
    sharp = sharpness(image, landmarks)
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 3), landmarks) < 0.5 * sharp
    noisy = image.copy()
    noisy[:100] = np.random.default_rng(0).integers(0, 256, noisy[:100].shape)
    assert sharpness(noisy, landmarks) == sharp
    assert sharpness(np.full_like(image, 90), landmarks) == 0
    assert np.isnan(sharpness(image, landmarks * 0))
