"""The guidance loss is zero for the true displacements only, and samplers move landmarks as pictures."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.models.compact.gaze import iris_position
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.layers import sample
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y
from mimicam.engine.types import BLENDSHAPES, LANDMARKS
from mimicam.training.daegan.device_videos import DeviceVideoSampler, Frames, device_videos
from mimicam.training.daegan.following import features, following
from mimicam.training.daegan.guidance import (
    EXPRESSION,
    LIDS,
    FacePoints,
    Guidance,
    Readout,
    face_field_loss,
    face_points,
    field_at,
    fold_loss,
    landmark_weights,
    mirrored,
    pair_matrix,
    pairs_loss,
    part_weights,
    pose_field_loss,
    shown_at,
)
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.daegan.videos import JITTER, VideoSampler
from mimicam.training.data.augmentation import Augmentation

MEAN = face_geometry().mean[:, :2] * HEAD_SCALE + np.array([0, HEAD_Y], np.float32)
TURN = np.array([[0.9, -0.2, 0.05], [0.15, 1.05, -0.04]], np.float32)
"""A movement of the picture, as an affine map of crop space."""
SIDE = 32


def linear_field(matrix_23: np.ndarray) -> Tensor:
    """Displacement ``[1, 2, SIDE, SIDE]`` that takes each position to its image."""
    places = (np.arange(SIDE) * 2 + 1) / SIDE - 1
    at = np.stack(np.meshgrid(places, places), -1)
    return torch.from_numpy(at @ matrix_23[:, :2].T + matrix_23[:, 2] - at).float().permute(2, 0, 1)[None]


def inverse(matrix_23: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix_23, [0, 0, 1]]))[:2].astype(np.float32)


def moved(points: np.ndarray) -> np.ndarray:
    return points @ TURN[:, :2].T + TURN[:, 2]


def loss(face: Tensor, pose: Tensor, resting: np.ndarray, landmarks: np.ndarray) -> float:
    resting_NL2, target_NL2 = (torch.from_numpy(x)[None].float() for x in (resting, landmarks))
    common = {"weight_L": landmark_weights(), "pairs_PL": pair_matrix()}
    found = face_field_loss(face, resting_NL2, target_NL2, **common)
    found = found + pose_field_loss(pose, resting_NL2, target_NL2, **common)
    return found.item()


def test_the_loss_is_zero_for_the_true_displacements_alone() -> None:
    face, pose = linear_field(TURN), linear_field(inverse(TURN))
    assert loss(face, pose, MEAN, moved(MEAN)) < 1e-5
    assert loss(pose, face, MEAN, moved(MEAN)) > 0.05, "both directions swapped"
    assert loss(pose, pose, MEAN, moved(MEAN)) > 0.03, "equation 1 the other way"
    assert loss(face, face, MEAN, moved(MEAN)) > 0.03, "equation 2 the other way"


def test_pairs_see_an_expression_and_no_movement_of_the_head() -> None:
    pairs, error = pair_matrix(), torch.zeros(1, LANDMARKS, 2)
    assert pairs_loss(error + 0.3, pairs).item() < 1e-6, "the whole face elsewhere"
    error[:, 14, 1] = 0.02
    assert pairs_loss(error, pairs).item() > 1e-3, "the lower lip lower"


def test_a_field_that_turns_a_part_upside_down_costs() -> None:
    centres = (torch.arange(32) * 2 + 1) / 32 - 1
    down = centres[None, :, None].expand(1, 32, 32)
    shrunk = torch.stack([torch.zeros(1, 32, 32), 0.5 * down], 1)
    assert fold_loss(shrunk).item() == 0, "order stays"
    reversed_ = torch.stack([torch.zeros(1, 32, 32), -2 * down], 1)
    assert fold_loss(reversed_).item() == pytest.approx(1.1, abs=1e-4), "from -1 to the least slope"
    assert fold_loss(reversed_.flip(1).transpose(2, 3)).item() == pytest.approx(1.1, abs=1e-4), "sideways"


def test_mirrored_landmarks_change_places() -> None:
    matrix = np.array([[0.9, 0.2, -0.05], [-0.15, 1.05, -0.04]], np.float32)  # TURN, seen in a mirror
    face, pose = linear_field(matrix), linear_field(inverse(matrix))
    assert loss(face, pose, mirrored(MEAN), mirrored(moved(MEAN))) < 1e-5
    unordered = moved(MEAN) * np.array([-1, 1], np.float32)
    assert loss(face, pose, mirrored(MEAN), unordered) > 0.3


def test_directions_are_those_of_the_warp() -> None:
    """A dot at a landmark of the frame arrives at its resting place, and back."""
    resting, landmark = MEAN[4], moved(MEAN)[4]
    there = sample(dot(landmark), linear_field(TURN))
    np.testing.assert_allclose(place(there), resting, atol=0.03)
    back = sample(dot(resting), linear_field(inverse(TURN)))
    np.testing.assert_allclose(place(back), landmark, atol=0.03)


def dot(at: np.ndarray) -> Tensor:
    places = (torch.arange(SIDE) * 2 + 1) / SIDE - 1
    distance = (places[None] - at[0]) ** 2 + (places[:, None] - at[1]) ** 2
    return torch.exp(-distance / 0.02)[None, None]


def place(image_11SS: Tensor) -> np.ndarray:
    places, weight = (torch.arange(SIDE) * 2 + 1) / SIDE - 1, image_11SS[0, 0] / image_11SS.sum()
    return np.array([(weight.sum(0) * places).sum(), (weight.sum(1) * places).sum()])


def test_landmarks_beyond_the_picture_do_not_count_for_the_pose() -> None:
    face, pose = linear_field(TURN), linear_field(inverse(TURN))
    far = moved(MEAN)
    far[2] = (3.0, 3.0)
    only_face = loss(face, pose, MEAN, far)
    assert only_face == pytest.approx(
        float(np.abs(far[2] - moved(MEAN)[2]).mean()) * weight_of(2) / 478, rel=1e-3
    )


def test_pairs_of_points_beyond_the_picture_do_not_count() -> None:
    error, inside = torch.zeros(1, LANDMARKS, 2), torch.ones(1, LANDMARKS)
    error[0, 14] = 3.0
    assert pairs_loss(error, pair_matrix(), inside).item() > 0.1
    inside[0, 14] = 0.0
    assert pairs_loss(error, pair_matrix(), inside).item() == 0.0


def weight_of(landmark: int) -> float:
    return float(landmark_weights()[landmark])


def test_outline_and_lids_weigh_most_and_irises_nothing() -> None:
    weight = landmark_weights()
    assert weight.mean().item() == pytest.approx(1)
    # Chin, both temples, forehead: without their weight, a turn left the far outline behind.
    assert {152, 127, 356, 10} < set(np.flatnonzero(weight == weight.max()))
    outline = weight == weight.max()
    assert set(np.flatnonzero(weight == weight[~outline].max())) == set(LIDS)
    assert weight[468:].abs().max() == 0


def test_resting_places_lack_pose_and_expression() -> None:
    g = face_geometry()
    open_mouth = np.zeros((2, 52), np.float32)
    open_mouth[1, 25] = 0.6
    yaw = 0.3
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]], np.float32)
    shapes = g.mean + np.tensordot(open_mouth, g.shape_from_expression, 1)
    shapes[0] = 0.5 * shapes[0] @ turn.T + np.array([0.1, 0.2, 0])
    found = face_points(shapes.astype(np.float32), open_mouth, np.array([3, 7]))
    assert found.row.tolist() == [0, 1]
    np.testing.assert_allclose(found.expressions[:, :BLENDSHAPES], open_mouth)
    # The head's turn is not in the gaze.
    np.testing.assert_allclose(found.expressions[:, BLENDSHAPES:], [iris_position(g.mean)] * 2, atol=0.02)
    np.testing.assert_allclose(found.resting[0], MEAN, atol=1e-5)
    np.testing.assert_allclose(
        found.resting[1], MEAN, atol=0.01
    )  # an open jaw moves the rigid points a little


def test_codes_learn_expressions() -> None:
    torch.manual_seed(0)
    guidance, head = Guidance(8, 8), torch.nn.Linear(8, 2)
    codes, wanted = torch.randn(64, 8), torch.rand(64, EXPRESSION)
    wanted = wanted * 0.1 + codes[:, :1] * 0.3
    optimiser = torch.optim.Adam([*guidance.shapes.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for _ in range(100):
        loss = guidance.expressions(codes, head(codes), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_displacement_is_inverted_by_iteration() -> None:
    resting = torch.from_numpy(MEAN)[None].float()
    pose = linear_field(inverse(TURN))
    np.testing.assert_allclose(shown_at(pose, resting)[0], moved(MEAN), atol=1e-3)
    back = inverse(TURN)
    np.testing.assert_allclose(
        field_at(pose, resting)[0], MEAN @ (back[:, :2] - np.eye(2)).T + back[:, 2], atol=1e-5
    )


class Displacements:
    """A pose embedder whose displacement stretches the face by the grey level it is shown."""

    def __call__(self, driver_N3SS: Tensor) -> SimpleNamespace:
        levels = driver_N3SS.mean((1, 2, 3)).tolist()
        fields = [linear_field(inverse(np.array([[1, 0, 0], [level, 1, 0]], np.float32))) for level in levels]
        return SimpleNamespace(displacement=torch.cat(fields))


def test_following_correlates_what_the_displacement_shows() -> None:
    levels = torch.tensor([-0.2, 0.0, 0.1, 0.3])
    drivers = levels[:, None, None, None].expand(-1, 3, 4, 4)
    resting = torch.from_numpy(MEAN)[None].repeat(4, 1, 1).float()
    target = resting.clone()
    target[:, 17, 1] += levels.flip(0)  # the mouth moves the other way
    got = following(SimpleNamespace(pose_embedder=Displacements()), drivers, target, resting)
    assert got[1].item() == 0, "no lid moves"
    assert features(target)[:, 0].argmax() == 0
    still = following(SimpleNamespace(pose_embedder=Displacements()), drivers, resting, resting)
    assert still.abs().max() == 0


def points_pack() -> tuple[np.ndarray, FacePoints, np.ndarray]:
    """Three frames whose red channel is a dot at landmark 33, the green one at 263."""
    rng = np.random.default_rng(0)
    landmarks = np.stack([MEAN, 0.8 * MEAN + 0.1, MEAN @ np.array([[0.95, 0.2], [-0.2, 0.95]], np.float32)])
    landmarks += rng.normal(0, 0.01, landmarks.shape)
    size = 64
    frames = np.zeros((3, size, size, 3), np.uint8)
    grid = (np.arange(size) * 2 + 1) / size - 1
    for frame, points in zip(frames, landmarks, strict=True):
        for channel, number in enumerate((33, 263)):
            x, y = points[number]
            frame[..., channel] = 250 * np.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / 0.005)
    expressions = np.zeros((3, EXPRESSION), np.float32)
    # The left eye shuts, and looks to the picture's right.
    expressions[:, [BLENDSHAPE_NAMES.index("eyeBlinkLeft"), BLENDSHAPES]] = (0.9, 0.2)
    points = FacePoints(
        landmarks=landmarks.astype(np.float32), resting=MEAN[None].astype(np.float32), row=np.zeros(3, int),
        expressions=expressions,
    )  # fmt: skip
    return frames, points, np.zeros(3, int)


def centre(picture_SS: Tensor) -> np.ndarray:
    side = picture_SS.shape[-1]
    grid, weight = (torch.arange(side) * 2 + 1) / side - 1, picture_SS.float() - picture_SS.min()
    weight = torch.where(weight > weight.max() / 4, weight, 0.0)
    weight = weight / weight.sum()
    return np.array([(weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum()])


MILD = Augmentation(roll_deg=12, scale=(0.9, 1.1), shift=0.03, colour=0, gamma=0)


def on_cpu() -> dict[str, Tensor]:
    frames, points, segment = points_pack()
    videos = SimpleNamespace(frames=frames, segment=segment, indices=np.arange(3))
    return VideoSampler(
        videos, size=64, frames=2, batch=12, augmentation=MILD, jitter=JITTER, points=points
    ).batch(0)  # fmt: skip


def on_device() -> dict[str, Tensor]:
    frames, points, segment = points_pack()
    pack = Frames(pictures=frames, segment=segment, is_synthetic=np.zeros(3, bool), points=points)
    videos = device_videos([pack], [1.0], torch.device("cpu"))
    return DeviceVideoSampler(videos, frames=2, batch=12, augmentation=MILD).batch(0)


@pytest.mark.parametrize("draw", [on_cpu, on_device])
def test_samplers_move_landmarks_as_pictures(draw: Callable[[], dict[str, Tensor]]) -> None:
    batch = draw()
    mirrored_ones = 0
    for number in range(12):
        pictures = [*batch["frames"][number], batch["target"][number]]
        points = [*batch["frame_points"][number], batch["target_points"][number]]
        for picture, own in zip(pictures, points, strict=True):
            dots = np.stack([centre(picture[channel]) for channel in (0, 1)])
            # In a mirrored picture the dots mark each other's landmark.
            want = dots if dots[0, 0] < dots[1, 0] else dots[::-1]
            np.testing.assert_allclose(own[[33, 263]], want, atol=0.03)
        is_mirrored = bool(dots[0, 0] > dots[1, 0])
        mirrored_ones += is_mirrored
        shut = BLENDSHAPE_NAMES.index("eyeBlinkRight" if is_mirrored else "eyeBlinkLeft")
        own = batch["expressions"][number]
        assert own.shape == (3, EXPRESSION)
        assert (own[:, shut] == 0.9).all()
        assert (own[:, BLENDSHAPES] == (-0.2 if is_mirrored else 0.2)).all()
        assert (own != 0).sum() == 6
        np.testing.assert_allclose(batch["resting"][number], MEAN, atol=1e-3)
    assert 0 < mirrored_ones < 12


def test_packs_have_points_all_or_none() -> None:
    frames, points, segment = points_pack()
    given = [
        Frames(pictures=frames, segment=segment, is_synthetic=np.zeros(3, bool), points=own)
        for own in (points, None)
    ]
    with pytest.raises(ValueError, match="all have points, or none"):
        device_videos(given, [0.5, 0.5], torch.device("cpu"))
    both = device_videos([given[0]] * 2, [0.5, 0.5], torch.device("cpu")).points
    assert both is not None
    assert both.row.tolist() == [0, 0, 0, 1, 1, 1]


def guided_batch(size: int) -> dict[str, Tensor]:
    frames, points, segment = points_pack()
    videos = SimpleNamespace(frames=frames, segment=segment, indices=np.arange(3))
    return VideoSampler(videos, size=size, frames=2, batch=2, points=points).batch(0)


def test_the_weight_adds_the_loss_to_the_embedders_objective() -> None:
    batch = guided_batch(32)
    figures = {}
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        recipe = DaeGanRecipe(DaeGanOptions(guidance=weight), config=DAEGAN_DEBUG)
        figures[weight] = recipe.step(0, batch)
    assert figures[0.0]["guidance"] == 0
    assert figures[5.0]["guidance"] > 0
    added = figures[5.0]["embedders"] - figures[0.0]["embedders"]
    assert added.item() == pytest.approx(5 * figures[5.0]["guidance"].item(), rel=1e-4)


def test_a_readout_is_compared_with_the_movement() -> None:
    readout = Readout(3)
    with torch.no_grad():
        readout.weight.zero_()
        readout.bias.copy_(torch.from_numpy(moved(MEAN) - MEAN).flatten())
    resting, landmarks = (torch.from_numpy(x)[None].float() for x in (MEAN, moved(MEAN)))
    code, weight = torch.ones(1, 3), landmark_weights()
    assert readout.loss(code, resting, landmarks, weight, pair_matrix()).item() < 1e-6
    assert readout.loss(code, landmarks, resting, weight, pair_matrix()).item() > 0.05


def test_both_codes_and_both_displacements_are_guided() -> None:
    recipe = DaeGanRecipe(DaeGanOptions(guidance=1.0), config=DAEGAN_COMPACT_64)
    recipe.step(0, guided_batch(64))
    assert recipe.guidance is not None
    for readout in (recipe.guidance.face, recipe.guidance.pose):
        assert readout.weight.grad is not None
    assert set(recipe.modules()) == {"model", "discriminator", "guidance"}


def test_eyes_and_mouth_count_more_and_the_mean_is_one() -> None:
    points = torch.from_numpy(MEAN)[None].float().expand(2, -1, -1).clone()
    points[1] += torch.tensor([0.3, 0.0])
    maps = part_weights(points, 64, weight=6.0)
    assert maps.shape == (2, 1, 64, 64)
    torch.testing.assert_close(maps.mean((1, 2, 3)), torch.ones(2))
    lip, forehead, corner = (maps[0, 0, y, x].item() for x, y in (cell(13), cell(151), (0, 0)))
    assert lip / corner == pytest.approx(7.0, rel=0.12)
    assert forehead / corner == pytest.approx(1.0, abs=0.1)
    x, y = cell(13)
    assert maps[1, 0, y, x + round(0.3 * 32)] > 0.85 * maps[1].max(), "the map follows the landmarks"


def cell(landmark: int) -> tuple[int, int]:
    """Column and row of a landmark of `MEAN` among 64."""
    x, y = ((MEAN[landmark] + 1) * 32).astype(int)
    return int(x), int(y)


@pytest.mark.parametrize("options", [DaeGanOptions(parts=6.0), DaeGanOptions(part_losses=1.0)])
def test_parts_need_landmarks(options: DaeGanOptions) -> None:
    with pytest.raises(ValueError, match="parts and part_losses need guidance"):
        DaeGanRecipe(options, config=DAEGAN_DEBUG)


def test_the_papers_generator_draws_all() -> None:
    with pytest.raises(ValueError, match="drawn needs a compact preset"):
        DaeGanRecipe(DaeGanOptions(drawn=0.5), config=DAEGAN_DEBUG)
