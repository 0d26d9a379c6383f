"""Encoders that learn to read from the trunk's features alone tell where the landmarks are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.face_trunk import FEATURES
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.types import LANDMARKS
from mimicam.training.daegan.finding import face_place, place_loss
from mimicam.training.daegan.guidance import face_points
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.reading import Steps, learn_to_read
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.daegan.videos import VideoSampler
from mimicam.training.data.pairs import FramePack
from tests.training.packs import write_pack


@pytest.fixture
def sampler(tmp_path: Path) -> VideoSampler:
    videos = FramePack(write_pack(tmp_path / "clips"), validation=False)
    points = face_points(videos.landmarks, videos.blendshapes, videos.segment)
    return VideoSampler(videos, size=64, frames=2, batch=4, points=points)


def test_codes_tell_the_landmarks_after_it(sampler: VideoSampler) -> None:
    torch.manual_seed(0)
    recipe = DaeGanRecipe(DaeGanOptions(guidance=1.0, ema=0.9), config=DAEGAN_COMPACT_64)
    recipe.start_from_trunk(read_trunk())
    trunk = {name: value.clone() for name, value in recipe.trunk_encoders()[0].trunk.state_dict().items()}
    before = read_error(recipe, sampler)
    fields_before = field_errors(recipe, sampler)
    told: list[str] = []
    learn_to_read(
        recipe, sampler, pictures=24, steps=Steps(finder=200, codes=150, fields=60), tell=told.append
    )
    after = read_error(recipe, sampler)
    assert after < 0.8 * before
    for name, error in field_errors(recipe, sampler).items():
        assert error < 0.8 * fields_before[name], f"displacements of the {name} embedder"
    assert len(told) == 4
    batch = sampler.batch(0)
    for encoder in recipe.trunk_encoders():
        place = encoder.read(recipe.pictures(batch)[2])[:, FEATURES:]
        assert place_loss(place, face_place(recipe.points(batch).target)) < 0.1
    own = recipe.result.pose_embedder.encoder.state_dict()
    assert all(torch.equal(own[f"trunk.{name}"], value) for name, value in trunk.items()), "kept as it was"
    for name, value in recipe.model.state_dict().items():
        assert torch.equal(recipe.result.state_dict()[name], value), "the running average starts from it"


def read_error(recipe: DaeGanRecipe, sampler: VideoSampler) -> float:
    """Mean distance of the landmarks that the pose code tells from the true ones."""
    batch = sampler.batch(0)
    resting, _, landmarks, _ = recipe.points(batch)
    model = recipe.model.eval()
    with torch.no_grad():
        code = model.pose_embedder.encode(recipe.pictures(batch)[2])
        told = resting + recipe.guidance.pose(code).view(-1, LANDMARKS, 2)
    model.train()
    return (told - landmarks).norm(dim=-1).mean().item()


def field_errors(recipe: DaeGanRecipe, sampler: VideoSampler) -> dict[str, float]:
    """Guidance loss of both displacements, as training draws pictures with them."""
    batch = sampler.batch(0)
    resting, of_frames, of_target, _ = recipe.points(batch)
    frames, _, driver = recipe.pictures(batch)
    own = resting[:, None].expand_as(of_frames).flatten(0, 1)
    model = recipe.model.eval()
    with torch.no_grad():
        face = model.embed(frames).displacement.flatten(0, 1)
        pose = model.pose_embedder(driver).displacement
        errors = {
            "face": recipe.guidance.field(face, own, of_frames.flatten(0, 1), of="face").item(),
            "pose": recipe.guidance.field(pose, resting, of_target, of="pose").item(),
        }
    model.train()
    return errors
