"""The expression loss (DPE, equation 10) with the tracker's landmark network as the face network.

The network that reads drivers also reads the result, with gradients. Its 478 landmarks are compared
with those of the true picture. So a mouth that opens half way is an error of its own, however few
pixels it has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS
from mimicam.engine.models.compact.landmark_flow import pixel_grid
from mimicam.training.losses.onnx_graph import OnnxGraph

_SIDE = 256
_ROI_SCALE = 1.5
_EYE_CORNERS = (33, 263)
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
        centre_N2, axes_N22 = _region(landmarks_NL3)
        grid_P2 = pixel_grid(_SIDE, landmarks_NL3)
        # From the network's square to crop space: rotate and scale the grid, then shift it.
        place_NP2 = centre_N2[:, None] + grid_P2 @ axes_N22
        grid = place_NP2.view(-1, _SIDE, _SIDE, 2)
        face_N3RR = F.grid_sample(image_N3SS.float(), grid, padding_mode="border", align_corners=False)
        points = self._net(((face_N3RR + 1) / 2).permute(0, 2, 3, 1))[0].reshape(-1, 478, 3)
        found_NL2 = points[..., :2].float() * (2 / _SIDE) - 1
        # The true landmarks in the square's own coordinates, -1..1, as the network's are.
        wanted_NL2 = (landmarks_NL3[..., :2] - centre_N2[:, None]) @ inverse_of_axes(axes_N22)
        return ((found_NL2 - wanted_NL2).abs().mean(-1) * self._weight).mean()


def inverse_of_axes(axes_N22: Tensor) -> Tensor:
    """Invert scaled rotations.

    ``torch.linalg.inv`` would check for errors, which makes the host wait for the device.
    """
    square_N11 = (axes_N22[:, :1] ** 2).sum(-1, keepdim=True)
    return axes_N22.transpose(-1, -2) / square_N11


def _region(landmarks_NL3: Tensor) -> tuple[Tensor, Tensor]:
    """Compute centre ``[N, 2]`` and axes ``[N, 2, 2]`` (rows: x and y in crop space) of the
    landmark network's square."""
    right, left = (landmarks_NL3[:, i, :2] for i in _EYE_CORNERS)
    x_N2 = F.normalize(left - right, dim=-1)
    y_N2 = torch.stack([-x_N2[:, 1], x_N2[:, 0]], dim=-1)
    turn_N22 = torch.stack([x_N2, y_N2], dim=1)
    # The tracker's square is upright to the eyes' line, not to the picture.
    upright = landmarks_NL3[..., :2] @ turn_N22.transpose(-1, -2)
    low, high = upright.amin(1), upright.amax(1)
    half_N = (high - low).amax(-1) / 2 * _ROI_SCALE
    centre_N2 = torch.einsum("nk,nkd->nd", (low + high) / 2, turn_N22)
    return centre_N2, turn_N22 * half_N[:, None, None]
