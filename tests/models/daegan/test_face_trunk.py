"""The trunk computes what the tracker's landmark network computes before its last layer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.face.networks import LANDMARK_NETWORK
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.face_trunk import FEATURES, SIDE, FaceFinder, FaceTrunk
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.silent_imports import ov


@pytest.fixture(scope="module")
def trunk() -> FaceTrunk:
    trunk = FaceTrunk()
    trunk.load_state_dict(read_trunk())
    return trunk


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """A face, ``[1, 3, 256, 256]`` in -1..1."""
    image = cv2.resize(cv2.imread(str(bundled_portraits()[0])), (SIDE, SIDE))[..., ::-1]
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_its_features_are_the_landmark_networks(trunk: FaceTrunk, picture: torch.Tensor) -> None:
    network = ov.Core().read_model(LANDMARK_NETWORK)
    last = [one for one in network.get_ordered_ops() if one.get_type_name() == "Convolution"][-1]
    cut = ov.Model([last.input_value(0)], network.get_parameters())
    cut.reshape([1, SIDE, SIDE, 3])
    run = ov.Core().compile_model(cut, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (want,) = run(((picture + 1) / 2).permute(0, 2, 3, 1).numpy()).values()
    got = trunk.features(picture).numpy()
    assert np.abs(want).mean() > 0.3
    np.testing.assert_allclose(got.ravel(), want.ravel(), atol=2e-3)


class At(FaceFinder):
    """Says that the face is at one place."""

    def __init__(self, *place: float) -> None:
        super().__init__()
        with torch.no_grad():
            self.place.bias.copy_(torch.tensor(place))


def moved(picture: torch.Tensor, place: tuple[float, ...], side: int = SIDE) -> torch.Tensor:
    """The picture, at a place in another one, ``[1, 3, side, side]``."""
    x, y, log_half, roll = place
    half = np.exp(log_half)
    turn = half * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    image = ((picture[0].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
    # Positions -1..1 to pixels of both, and back.
    matrix = np.hstack([turn, [[x], [y]]])
    pixels = matrix * side / SIDE
    pixels[:, 2] = (matrix[:, 2] + 1) * side / 2 - 0.5 - pixels[:, :2] @ np.full(2, (SIDE - 1) / 2)
    warped = cv2.warpAffine(image, pixels, (side, side), flags=cv2.INTER_CUBIC)
    return torch.from_numpy(warped).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0, 0.0), (0.1, -0.15, -0.2, 0.2), (-0.2, 0.1, -0.35, -0.3)])
def test_a_face_is_read_where_it_is(
    trunk: FaceTrunk, picture: torch.Tensor, place: tuple[float, ...]
) -> None:
    want = trunk.features(picture)[0]
    read = trunk(moved(picture, place), At(*place))[0]
    torch.testing.assert_close(read[FEATURES:], torch.tensor(place), msg="the place comes with it")
    away, before = (
        F.cosine_similarity(one, want, 0)
        for one in (read[:FEATURES], trunk.features(moved(picture, place))[0])
    )
    assert away > 0.99
    if place[2]:
        assert 1 - away < 0.2 * (1 - before)


def test_beyond_the_picture_a_face_is_black(trunk: FaceTrunk, picture: torch.Tensor) -> None:
    aside = (0.9, 0.0, -0.5, 0.0)
    read = trunk(picture, At(*aside))[0, :FEATURES]
    black = torch.cat([picture, torch.full_like(picture, -1)], 3)[..., SIDE // 2 : SIDE // 2 + SIDE]
    torch.testing.assert_close(read, trunk(black, At(-0.1, *aside[1:]))[0, :FEATURES], atol=0.05, rtol=0.05)


def test_a_picture_without_a_face_gives_values_all_the_same(trunk: FaceTrunk) -> None:
    lost = At(7.0, -9.0, 30.0, 2.0)
    read = trunk(torch.zeros(1, 3, 64, 64), lost)
    assert read.isfinite().all()
    assert read[0, FEATURES : FEATURES + 2].tolist() == [1, -1]
    assert 0 < read[0, FEATURES + 2] < 1


def test_smaller_pictures_are_enlarged(trunk: FaceTrunk, picture: torch.Tensor) -> None:
    small, finder = F.avg_pool2d(picture, 4), FaceFinder()
    large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear")
    torch.testing.assert_close(trunk(small, finder), trunk(large, finder), atol=1e-4, rtol=0)


def test_the_same_pictures_are_read_once_in_a_step(trunk: FaceTrunk, monkeypatch: pytest.MonkeyPatch) -> None:
    read, first, second = [], torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    finder = FaceFinder()
    monkeypatch.setattr(trunk, "_read", lambda image, _: read.append(image) or image.mean((2, 3)))
    with trunk.keeping():
        for image in (first, first.flatten(0, 0), second, second):
            torch.testing.assert_close(trunk(image, finder), image.mean((2, 3)))
    assert len(read) == 2
    first += 1.0
    own = trunk(first, finder)
    torch.testing.assert_close(own, first.mean((2, 3)), msg="outside, pictures may change in place")


def test_no_gradient_reaches_it(picture: torch.Tensor) -> None:
    model = CompactDaeGan(DAEGAN_COMPACT_64)
    model.pose_embedder.encode(F.avg_pool2d(picture, 4).repeat(2, 1, 1, 1)).sum().backward()
    trained = dict(model.pose_embedder.encoder.named_parameters())
    assert all((p.grad is None) == name.startswith(("trunk.", "finder.")) for name, p in trained.items())
