"""Each loss of the compact recipe against a value known by hand."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.face.tracker import region_of_landmarks  # noqa: E402
from mimicam.engine.models.compact.conditioning import CONTROL, build_conditioning  # noqa: E402
from mimicam.engine.models.compact.landmark_flow import pixel_grid, warp  # noqa: E402
from mimicam.training.compact.losses import attention_map, flow_roughness, gradient_l1, pyramid_l1  # noqa: E402
from mimicam.training.losses.face_square import face_square  # noqa: E402
from tests.stages.material import first_face, motion, pose  # noqa: E402

ONES = torch.ones(1, 1, 32, 32)


def _drive(**values: float) -> list[torch.Tensor]:
    drive = build_conditioning(motion(), motion(pose(at=(0.1, -0.2)), **values), map_px=16)
    return [torch.from_numpy(a)[None] for a in (drive.target_points, drive.head, drive.opening_masks)]


def test_equal_pictures_cost_nothing() -> None:
    image = torch.rand(2, 3, 32, 32)
    assert pyramid_l1(image, image, ONES) == 0
    assert gradient_l1(image, image, ONES) == 0


def test_a_constant_difference_counts_on_every_level() -> None:
    image = torch.rand(2, 3, 32, 32)
    assert pyramid_l1(image + 0.25, image, ONES) == pytest.approx(0.25, abs=1e-6)
    assert gradient_l1(image + 0.25, image, ONES) == pytest.approx(0.0, abs=1e-6)


def test_fine_noise_costs_less_on_coarse_levels() -> None:
    checker = (torch.arange(32)[:, None] + torch.arange(32)[None]) % 2 * 2.0 - 1
    noise = checker.expand(1, 3, 32, 32)
    assert pyramid_l1(noise, torch.zeros_like(noise), ONES) == pytest.approx(1 / 4, abs=1e-6)
    assert gradient_l1(noise, torch.zeros_like(noise), ONES) == pytest.approx(4.0, abs=1e-6)


def test_an_error_counts_by_the_weight_of_its_place() -> None:
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 16:] = 2
    error = torch.zeros(1, 3, 32, 32)
    error[..., :16] = 1
    assert pyramid_l1(error, torch.zeros_like(error), weight) == 0
    assert pyramid_l1(error.flip(-1), torch.zeros_like(error), weight) == pytest.approx(1.0, abs=1e-6)


def test_a_flow_is_rough_where_it_bends() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(1, 2, 16, 16)
    assert flow_roughness(ramp) == pytest.approx(0.0, abs=1e-5)
    bent = torch.arange(16.0).square().expand(1, 2, 16, 16) / 256
    assert flow_roughness(bent) == pytest.approx(2 / 256 * 16, abs=1e-5)


def test_attention_has_mean_one_and_peaks_at_the_mouth() -> None:
    target, head, openings = _drive(jawOpen=1.0)
    weight = attention_map(target, head, openings, 32)
    assert weight.shape == (1, 1, 32, 32)
    assert weight.mean() == pytest.approx(1.0, abs=1e-5)
    mouth = target[0, [list(CONTROL).index(13), list(CONTROL).index(14)], :2].mean(0)
    x, y = ((mouth + 1) * 16).long().tolist()
    assert weight[0, 0, y, x] > 5 * weight[0, 0, 31, 0]
    assert weight[0, 0, y, x] > weight[0, 0, y, 31] * 4


def test_no_flow_leaves_a_picture_and_a_shift_moves_it() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert torch.allclose(warp(image, torch.zeros(1, 2, 16, 16)), image, atol=1e-6)
    shift = torch.zeros(1, 2, 16, 16)
    shift[:, 0] = 2 / 16 * 3  # looks three pixels to the right
    assert torch.allclose(warp(image, shift)[..., :13], image[..., 3:], atol=1e-5)


def test_a_pixel_grid_holds_the_pixels_centres_row_by_row() -> None:
    grid = pixel_grid(4, torch.zeros(1))
    assert grid[0].tolist() == pytest.approx([-0.75, -0.75])
    assert grid[1].tolist() == pytest.approx([-0.25, -0.75])
    assert grid[4].tolist() == pytest.approx([-0.75, -0.25])


def test_the_landmark_loss_looks_where_the_tracker_looks() -> None:
    landmarks = first_face().landmarks
    region = region_of_landmarks(landmarks)
    square = face_square(torch.from_numpy(landmarks)[None])
    centre, axes = square.centre, square.axes
    assert centre[0].tolist() == pytest.approx([region.x_px, region.y_px], abs=0.05)
    corner = np.array(region.image_from_net(2)) @ [2, 2, 1]
    assert (centre[0] + axes[0].sum(0)).numpy() == pytest.approx(corner, abs=0.05)
