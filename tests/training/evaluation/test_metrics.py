"""Each measure against a value known by hand."""

import numpy as np
import pytest

from mimicam.engine.face.geometry import face_geometry
from mimicam.training.evaluation.metrics import (
    blendshape_distance,
    cosine,
    expression_groups,
    follow,
    follow_all,
    frechet,
    gaze_curves,
    jitter,
    landmark_error,
    psnr,
    sharpness,
    ssim,
)
from tests.stages.material import NAMES, bundled, first_face, shapes


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
    image = bundled("rosa.jpg")
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-6)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert ssim(noise, 255 - noise) < -0.9
    blurred = np.asarray(image[::4, ::4].repeat(4, 0).repeat(4, 1))
    assert 0.2 < ssim(image, blurred) < 0.99


def test_the_gain_is_the_amplitude_of_the_result() -> None:
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


def test_a_still_result_has_gain_zero_a_still_driver_none() -> None:
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

    image = bundled("rosa.jpg")
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[0, :2], landmarks[1:, :2] = (150, 150), (350, 350)
    sharp = sharpness(image, landmarks)
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 3), landmarks) < 0.5 * sharp
    noisy = image.copy()
    noisy[:100] = np.random.default_rng(0).integers(0, 256, noisy[:100].shape)
    assert sharpness(noisy, landmarks) == sharp
    assert sharpness(np.full_like(image, 90), landmarks) == 0
    assert np.isnan(sharpness(image, landmarks * 0))


def test_gaze_is_where_the_irises_are_between_the_corners() -> None:
    face = np.repeat(face_geometry().mean[None], 3, axis=0)
    width = np.linalg.norm(face[0, 33, :2] - face[0, 133, :2])
    looking = face.copy()
    for step, iris in ((0, 468), (0, 473), (1, 468), (1, 473)):
        looking[1 + step, iris, step] += 0.2 * width
    theirs, ours = gaze_curves(looking, 3 * looking)["gaze_x"], gaze_curves(looking, looking)["gaze_y"]
    assert theirs[0][1] - theirs[0][0] == pytest.approx(0.2, abs=0.02)
    assert ours[0][2] - ours[0][0] == pytest.approx(0.2, abs=0.02)
    assert theirs[1] == pytest.approx(theirs[0], abs=1e-5), "in eye widths, whatever the size"


def test_live_blendshapes_are_weighted_by_the_drivers_spread() -> None:
    rng = np.random.default_rng(0)
    driver = np.zeros((200, 52), np.float32)
    jaw, smile, look = (NAMES.index(n) for n in ("jawOpen", "mouthSmileLeft", "eyeLookUpLeft"))
    driver[:, jaw], driver[:, smile] = rng.normal(0.4, 0.3, 200), rng.normal(0.4, 0.1, 200)
    driver[:, look] = rng.normal(0.4, 0.3, 200)
    result = driver.copy()
    result[:, jaw] *= 0.5
    result[:, [smile, look]] = rng.normal(0, 1e-4, (200, 2))
    correlation, gain, weight = follow_all(driver, result)
    assert weight == pytest.approx(0.4, abs=0.03), "gaze is measured elsewhere"
    assert gain == pytest.approx(0.5 * 0.75, abs=0.03)
    assert correlation == pytest.approx(0.75, abs=0.06)
    assert follow_all(np.zeros_like(driver), result)[2] == 0.0


def test_the_distance_sums_the_blendshapes_differences() -> None:
    driver = np.zeros((4, 52), np.float32)
    assert blendshape_distance(driver + np.float32(0.1), driver) == pytest.approx(5.2)


def test_jitter_is_of_what_trembles_and_not_of_what_moves() -> None:
    face = np.repeat(face_geometry().mean[None], 50, axis=0)
    moving = face + np.linspace(0, 5, 50)[:, None, None]
    trembling = face + np.where(np.arange(50) % 2, 0.1, 0.0)[:, None, None]
    assert jitter(moving) == pytest.approx(0.0, abs=1e-5)
    eyes = np.linalg.norm(face[0, 33, :2] - face[0, 263, :2])
    assert jitter(trembling) == pytest.approx(0.2 / eyes, rel=1e-3)
    assert jitter(2 * trembling) == pytest.approx(0.2 / eyes, rel=1e-3)
