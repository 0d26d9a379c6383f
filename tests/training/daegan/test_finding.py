"""Places of faces, from landmarks, are those that the tracker reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.networks import region_of_landmarks
from mimicam.training.daegan.finding import face_place, place_loss

SIDE = 200


@pytest.mark.parametrize("roll", [0.0, 0.4, -0.3])
def test_a_place_is_the_trackers_region(roll: float) -> None:
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    points = (0.4 * face_geometry().mean[:, :2] @ turn.T + (0.1, -0.2)).astype(np.float32)
    region = region_of_landmarks((points + 1) * (SIDE / 2))
    (found,) = face_place(torch.from_numpy(points)[None]).numpy()
    want = [
        2 * region.x_px / SIDE - 1,
        2 * region.y_px / SIDE - 1,
        np.log(region.size_px / SIDE),
        region.roll_rad,
    ]
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_errors_count_relative_to_the_side() -> None:
    small, large = (torch.tensor([[0.0, 0.0, np.log(half), 0.0]]) for half in (0.25, 0.5))
    aside = torch.tensor([[0.1, 0.0, 0.0, 0.0]])
    assert place_loss(small, small) == 0
    assert place_loss(small + aside, small).item() == pytest.approx(0.1 / 0.5 / 4)
    assert place_loss(large + aside, large).item() == pytest.approx(0.1 / 1.0 / 4)
