"""A landmark loss in the spirit of DPE's expression loss, with the tracker's landmark network.

The network that reads drivers also reads the result, with gradients. Its 478 landmarks are compared
with those of the true picture. So a mouth that opens half way is an error of its own, however few
pixels it has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS
from mimicam.training.losses.face_square import SIDE_PX, face_square
from mimicam.training.losses.onnx_graph import OnnxGraph

_LIDS = [159, 145, 158, 153, 160, 144, 386, 374, 385, 380, 387, 373]
"""Upper and lower lids. They count double: a few pixels decide whether an eye is closed."""
_EXPRESSIVE = 4.0
"""Weight of the points that the blendshape network reads (lids, lips, brows, irises), relative to
the others."""


class LandmarkLoss(nn.Module):
    """Frozen landmark network; computes the weighted mean distance of its points, in half sides of
    the network's square."""

    def __init__(self, network: Path) -> None:
        super().__init__()
        self._net = OnnxGraph(network).eval().requires_grad_(False)
        weight = np.ones(478, np.float32)
        weight[BLENDSHAPE_LANDMARKS] = _EXPRESSIVE
        # Normalised below, so that the loss stays a mean distance.
        weight[_LIDS] = 2 * _EXPRESSIVE
        self._weight: Tensor
        self.register_buffer("_weight", torch.from_numpy(weight / weight.mean()))

    def forward(self, image_N3SS: Tensor, landmarks_NL3: Tensor) -> Tensor:
        """Compare results with the true landmarks.

        Args:
            image_N3SS: results, -1..1.
            landmarks_NL3: the 478 points of the true picture, crop space.
        """
        # Cut around the true landmarks: a square from the result's would move with its errors.
        square = face_square(landmarks_NL3)
        points = self._net(square.cut(image_N3SS))[0].reshape(-1, 478, 3)
        # Depth is left out: the crop's depth is the tracker's own guess.
        found_NL2 = points[..., :2].float() * (2 / SIDE_PX) - 1
        wanted_NL2 = square.from_crop(landmarks_NL3[..., :2])
        return ((found_NL2 - wanted_NL2).abs().mean(-1) * self._weight).mean()
