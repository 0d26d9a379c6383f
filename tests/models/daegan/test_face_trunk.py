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
from mimicam.engine.models.daegan.face_trunk import SIDE, FaceTrunk
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
    got = trunk(picture).numpy()
    assert np.abs(want).mean() > 0.3
    np.testing.assert_allclose(got.ravel(), want.ravel(), atol=2e-3)


def test_smaller_pictures_are_enlarged(trunk: FaceTrunk, picture: torch.Tensor) -> None:
    small = F.avg_pool2d(picture, 4)
    large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear")
    torch.testing.assert_close(trunk(small), trunk(large), atol=1e-4, rtol=0)


def test_the_same_pictures_are_read_once_in_a_step(trunk: FaceTrunk, monkeypatch: pytest.MonkeyPatch) -> None:
    read, first, second = [], torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    monkeypatch.setattr(trunk, "_read", lambda image: read.append(image) or image.mean((2, 3)))
    with trunk.keeping():
        for image in (first, first.flatten(0, 0), second, second):
            torch.testing.assert_close(trunk(image), image.mean((2, 3)))
    assert len(read) == 2
    first += 1.0
    torch.testing.assert_close(trunk(first), first.mean((2, 3)), msg="outside, pictures may change in place")


def test_no_gradient_reaches_it(picture: torch.Tensor) -> None:
    model = CompactDaeGan(DAEGAN_COMPACT_64)
    model.pose_embedder.encode(F.avg_pool2d(picture, 4).repeat(2, 1, 1, 1)).sum().backward()
    trained = dict(model.pose_embedder.encoder.named_parameters())
    assert all((p.grad is None) == name.startswith("trunk.") for name, p in trained.items())
