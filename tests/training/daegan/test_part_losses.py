"""Mouth and eyes are cut out where landmarks are, and their losses move generator and
discriminators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y
from mimicam.training.daegan.guidance import EXPRESSION
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.part_losses import PARTS, PartDiscriminators, cut_parts
from mimicam.training.daegan.recipe import DaeGanRecipe

MEAN = torch.from_numpy(face_geometry().mean[:, :2] * HEAD_SCALE + np.array([0.0, HEAD_Y], np.float32))
SIDE = 128


def dotted(landmarks: dict[int, float]) -> Tensor:
    """A dark picture with bright dots of three pixels at landmarks."""
    image = torch.full((1, 3, SIDE, SIDE), -1.0)
    for number, value in landmarks.items():
        x, y = ((MEAN[number] + 1) * SIDE / 2).int().tolist()
        image[..., y - 1 : y + 2, x - 1 : x + 2] = value
    return image


def test_parts_are_centred_on_mouth_and_eyes() -> None:
    image = dotted({13: 1.0, 14: 1.0, 159: 0.5, 145: 0.5, 386: 1.0, 374: 1.0})
    parts = cut_parts(image, MEAN[None])
    assert set(parts) == set(PARTS)
    assert parts["mouth"].shape == (1, 3, 64, 64)
    assert parts["eyes"].shape == (2, 3, 64, 64)
    for picture in (parts["mouth"][0], *parts["eyes"]):
        rows, columns = (picture[0] > -0.5).nonzero(as_tuple=True)
        assert abs(rows.float().mean() - 31.5) < 8
        assert abs(columns.float().mean() - 31.5) < 5
    assert parts["eyes"][0].max() == pytest.approx(0.5, abs=0.1), "the right eye comes first"


def test_the_left_eye_is_mirrored() -> None:
    parts = cut_parts(dotted({133: 1.0, 362: 1.0}), MEAN[None])
    # The inner corners: one on the right of the right eye, and after mirroring so is the other.
    for picture in parts["eyes"]:
        assert (picture[0] > 0).nonzero()[:, 1].float().mean() > 38


def test_squares_follow_the_faces_size() -> None:
    image = torch.rand(1, 3, SIDE, SIDE)
    small, large = (cut_parts(image, scale * MEAN[None])["mouth"] for scale in (0.4, 0.8))
    # A square of half the side shows half as much change.
    assert small.diff(dim=-1).abs().mean() < 0.8 * large.diff(dim=-1).abs().mean()


def test_gradients_reach_the_picture_only_where_parts_are() -> None:
    image = torch.zeros(1, 3, SIDE, SIDE, requires_grad=True)
    judged = PartDiscriminators(8, 16)(cut_parts(image, MEAN[None]))
    assert len(judged) == len(PARTS)
    sum(each.score.sum() for each in judged).backward()
    assert image.grad is not None
    x, y = ((MEAN[13] + 1) * SIDE / 2).int().tolist()
    assert image.grad[..., y, x].abs().sum() > 0
    assert image.grad[..., :8, :].abs().max() == 0


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(2, 1, 3, 64, 64, generator=generator) * 2 - 1
    points = MEAN[None].expand(2, -1, -1).contiguous()
    return {
        "frames": frames, "target": frames[:, 0].flip(0).contiguous(), "resting": points,
        "frame_points": points[:, None].contiguous(), "target_points": points,
        "expressions": torch.zeros(2, 2, EXPRESSION),
    }  # fmt: skip


def made(**options: float) -> DaeGanRecipe:
    torch.manual_seed(0)
    recipe = DaeGanRecipe(
        DaeGanOptions(stage_one_steps=0, steps=10, guidance=1.0, lr_discriminator=1e-2, **options),
        config=DAEGAN_COMPACT_64,
    )
    recipe.start_from_trunk(read_trunk())
    return recipe


def test_a_step_trains_the_discriminators_of_parts(batch: dict[str, Tensor]) -> None:
    recipe = made(part_losses=1.0)
    first = recipe.step(0, batch)
    for step in range(1, 6):
        last = recipe.step(step, batch)
    assert float(last["parts_discriminator"]) < float(first["parts_discriminator"])
    assert {"part_discriminators"} <= recipe.modules().keys() & recipe.optimisers().keys()
    assert "part_discriminators" not in made().modules()


def test_what_is_drawn_needlessly_costs(batch: dict[str, Tensor]) -> None:
    free, dear = made(), made(drawn=50.0)
    for step in range(8):
        free.step(step, batch)
        figures = dear.step(step, batch)
    shares = []
    for recipe in (free, dear):
        model = recipe.result.eval()
        with torch.no_grad():
            face = model.embed(batch["frames"]).face
            layers = model.layers(face, model.pose_embedder.encode(batch["target"]))
        shares.append(float(layers.share.mean()))
    assert shares[1] > shares[0] + 0.01
    assert 0 < float(figures["drawn"]) < 0.2
