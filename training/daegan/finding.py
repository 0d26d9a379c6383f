"""Teach the encoders of DAE-GAN's compact preset where a picture shows the face, from landmarks. Not
in the paper.

Shape letters: N pictures, C features, L landmarks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mimicam.engine.face.landmarks import EYE_CORNERS
from mimicam.engine.models.daegan.face_trunk import PLACE

_MARGIN = 1.5
"""Side of what is read over that of the landmarks' box: `engine.face.networks` has the same."""
(_OUTER_RIGHT, _), (_, _OUTER_LEFT) = EYE_CORNERS
"""Corners of the eyes whose line is level in an upright face."""


def face_place(landmarks_NL2: Tensor) -> Tensor:
    """Return where the tracker would read faces with these landmarks, ``[N, 4]``; see
    `engine.models.daegan.face_trunk.PLACE`."""
    across = landmarks_NL2[:, _OUTER_LEFT] - landmarks_NL2[:, _OUTER_RIGHT]
    roll = torch.atan2(across[:, 1], across[:, 0])
    cos, sin = roll.cos(), roll.sin()
    x, y = landmarks_NL2.unbind(2)
    # Upright, the landmarks' box gives centre and side.
    turned = torch.stack([cos[:, None] * x + sin[:, None] * y, cos[:, None] * y - sin[:, None] * x], 2)
    low, high = turned.amin(1), turned.amax(1)
    middle, half = (low + high) / 2, (high - low).amax(1) * (_MARGIN / 2)
    centre = (cos * middle[:, 0] - sin * middle[:, 1], sin * middle[:, 0] + cos * middle[:, 1])
    return torch.stack([*centre, half.log(), roll], 1)


def place_loss(found_N4: Tensor, true_N4: Tensor) -> Tensor:
    """Compare places: mean error along both axes in sides of what is read, of the side's logarithm,
    and of the roll, a scalar."""
    apart = (found_N4 - true_N4).abs()
    side = 2 * true_N4[:, 2].exp()
    return (apart[:, :2].sum(1) / side + apart[:, 2:].sum(1)).mean() / PLACE
