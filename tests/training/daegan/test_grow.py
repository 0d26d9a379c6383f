"""A grown model computes what the smaller one did on pictures that have no finer detail."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import (
    DAEGAN_COMPACT,
    DAEGAN_COMPACT_64,
    DAEGAN_COMPACT_128,
    CompactDaeGanConfig,
)
from mimicam.engine.models.daegan.face_trunk import FEATURES
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.training.daegan.grow import grown


def _built(config: CompactDaeGanConfig, seed: int) -> CompactDaeGan:
    torch.manual_seed(seed)
    return CompactDaeGan(config).eval()


@pytest.mark.parametrize("config", [DAEGAN_COMPACT_128, DAEGAN_COMPACT])
def test_codes_are_those_of_the_smaller_model(config: CompactDaeGanConfig) -> None:
    small, large = _built(DAEGAN_COMPACT_64, 0), _built(config, 1)
    large.load_state_dict(grown(small.state_dict(), large.state_dict()))
    for model in (small, large):
        for embedder in (model.face_embedder, model.pose_embedder):
            embedder.encoder.trunk.load_state_dict(read_trunk())
    # Soft, since the trunk sees the finer detail of larger pictures.
    fine = F.interpolate(torch.rand(4, 3, 5, 5) * 2 - 1, size=(config.size, config.size), mode="bilinear")
    coarse = F.avg_pool2d(fine, config.size // 64)
    with torch.no_grad():
        for name in ("face_embedder", "pose_embedder"):
            got, want = getattr(large, name).encode(fine), getattr(small, name).encode(coarse)
            assert (got - want).abs().mean() < 0.4 * want.std(0).mean()


def test_a_grown_generator_draws_the_same_picture_finer() -> None:
    small, large = _built(DAEGAN_COMPACT_64, 0), _built(DAEGAN_COMPACT_128, 1)
    for head in small.generator.heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    large.load_state_dict(grown(small.state_dict(), large.state_dict()))
    soft = torch.rand(1, 3, 5, 5) * 2 - 1
    faces = [F.interpolate(soft, size=(side, side), mode="bilinear") for side in (128, 256)]
    with torch.no_grad():
        code = small.pose_embedder.encode(F.avg_pool2d(faces[1], 4).flip(-1))
        coarse, fine = (model.picture(face, code) for model, face in zip((small, large), faces, strict=True))
    assert (F.avg_pool2d(fine, 2) - coarse).abs().mean() < 0.05 * coarse.std()


def test_the_same_size_is_returned_as_it_is() -> None:
    small, other = (_built(DAEGAN_COMPACT_64, seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(value, small[name]) for name, value in grown(small, other).items())


def test_a_run_from_before_the_layout_goes_on_as_it_was() -> None:
    former, now = _built(DAEGAN_COMPACT_64, 0), _built(DAEGAN_COMPACT_64, 1)
    added = ("pose_embedder.layout.", "generator.poses.", "generator.faces.")
    for name, value in former.named_parameters():
        if name.startswith(added) and name != "pose_embedder.layout.bias":
            torch.nn.init.zeros_(value)
    state = {name: value for name, value in former.state_dict().items() if not name.startswith(added)}
    now.load_state_dict(grown(state, now.state_dict()))
    face, code = torch.rand(1, 3, 128, 128) * 2 - 1, torch.randn(1, 64)
    with torch.no_grad():
        assert (now.picture(face, code) - former.picture(face, code)).abs().max() < 0.01


def test_a_run_from_before_the_finder_reads_as_it_did() -> None:
    former, now = _built(DAEGAN_COMPACT_64, 0), _built(DAEGAN_COMPACT_64, 1)
    added, hidden = (".finder.", "pose_embedder.gaze."), "encoder.hidden.weight"
    for name, value in former.named_parameters():
        if name.endswith(hidden):
            torch.nn.init.zeros_(value[:, FEATURES:])
    state = {
        name: value[:, :FEATURES] if name.endswith(hidden) else value
        for name, value in former.state_dict().items()
        if not any(part in name for part in added)
    }
    now.load_state_dict(grown(state, now.state_dict()))
    frames = torch.rand(1, 2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(now(frames, frames[:, 0]), former(frames, frames[:, 0]))


def test_a_larger_model_does_not_shrink() -> None:
    large, small = _built(DAEGAN_COMPACT_128, 0).state_dict(), _built(DAEGAN_COMPACT_64, 1).state_dict()
    with pytest.raises(ValueError, match="smaller compact model"):
        grown(large, small)
