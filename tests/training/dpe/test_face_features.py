"""The tracker as a loss: what goes into its two networks, and that gradients come back. Stand-in networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.face.tracker import BLENDSHAPE_LANDMARKS
from mimicam.training.dpe.face import TrackerFeatures
from tests.training.dpe.conftest import PER_POINT, WEIGHT


@pytest.fixture
def features(face_files: tuple[Path, Path]) -> TrackerFeatures:
    return TrackerFeatures(*face_files)


def test_networks_get_pictures_in_0_to_1_and_chosen_points(
    features: TrackerFeatures,
) -> None:
    red_green = torch.tensor([[0.25, 0.5], [1.0, 0.0]])
    colour = torch.cat((red_green, torch.zeros(2, 1)), 1)
    image = (colour * 2 - 1)[:, :, None, None].expand(2, 3, 64, 64)
    want = (PER_POINT[BLENDSHAPE_LANDMARKS][None, :, None] * WEIGHT).sum(1) * red_green.numpy()
    np.testing.assert_allclose(features(image).numpy(), want, rtol=1e-3)


def test_gradients_reach_the_picture_and_nothing_else(features: TrackerFeatures) -> None:
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    features(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad[:, :2].abs().sum((1, 2, 3)) > 0).all()
    assert list(features.parameters()) == []


def test_a_measure_holds_expression_and_rigid_points(features: TrackerFeatures) -> None:
    image = torch.ones(2, 3, 32, 32)
    reading = features.read(image)
    assert torch.equal(reading.expression, features(image))
    assert reading.pose.shape == (2, 6 * 3)
    assert reading.pose[0, 0].item() == pytest.approx(33 / 256)
